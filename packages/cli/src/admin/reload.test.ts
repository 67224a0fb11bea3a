import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { askForReload } from './reload.ts';

const service = pathToFileURL(join(import.meta.dirname, '../../../common/src/service/index.ts')).href;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-reload-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

it('is answered by what began after it, not by a reload that was under way, nor by files that were taken up meanwhile', async () => {
  // At SIGHUP it tells what came of a reload from before, then of files that have changed, and then of the one that was
  // asked for.
  const program = `
    const { keepServiceRecord } = await import(${JSON.stringify(service)});
    const said = keepServiceRecord(${JSON.stringify(directory)}, console.error);
    const tell = (why, error, begunNs = process.hrtime.bigint()) =>
      said({ at: new Date().toISOString(), why, begunNs: String(begunNs), outcome: 'refused', error });
    const begun = process.hrtime.bigint();
    process.on('SIGHUP', () => {
      tell('asked', 'the one from before', begun);
      setTimeout(tell, 100, 'changed', 'files');
      setTimeout(tell, 200, 'asked', 'this one');
    });
    setInterval(() => {}, 1000);
    console.log('ready');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    expect(await askForReload(directory)).toMatchObject({ why: 'asked', error: 'this one' });
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
