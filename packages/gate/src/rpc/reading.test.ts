import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { Reading } from './reading.ts';

it('reads only once everybody who held it back has let go', () => {
  const call = new PassThrough();
  const reading = new Reading(call);
  const [first, second] = [reading.hold(), reading.hold()];
  first();
  first();
  expect(call.isPaused()).toBe(true);
  second();
  expect(call.isPaused()).toBe(false);
  const third = reading.hold();
  first();
  expect(call.isPaused()).toBe(true);
  third();
  expect(call.isPaused()).toBe(false);
});
