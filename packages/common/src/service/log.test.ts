import { expect, it } from 'vitest';
import { silentLog, sparingLog } from './log.ts';

it('writes a hundred lines of a text a minute, then how many were left out', () => {
  const lines: [object, string][] = [];
  let ms = 0;
  const log = sparingLog({ ...silentLog, warn: (fields, text) => lines.push([fields, text]) }, () => ms);
  for (let count = 0; count < 5000; count++) log.warn({ count }, 'an offer was refused');
  log.warn({}, 'something else');
  expect(lines).toHaveLength(101);
  expect(lines.at(-1)).toEqual([{}, 'something else']);
  ms = 60_000;
  log.warn({ count: 5000 }, 'an offer was refused');
  expect(lines.slice(101)).toEqual([
    [{ leftOut: 4900, text: 'an offer was refused' }, 'lines were left out of the log'],
    [{ count: 5000 }, 'an offer was refused'],
  ]);
});
