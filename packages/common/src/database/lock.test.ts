import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeLock } from './index.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync('/var/tmp/csc-lock-test-');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const path = () => join(directory, 'a.lock');

describe('a lock', () => {
  it('is one holder’s, until it is closed', () => {
    const held = takeLock(path(), 0);
    expect(() => takeLock(path(), 0)).toThrow(expect.objectContaining({ errcode: 5 }));
    held.close();
    takeLock(path(), 0).close();
  });

  it.runIf(process.getuid?.() === 0)('is nobody’s who may not write its file, as root has made it', () => {
    const uid = 61_912;
    chownSync(directory, uid, uid);
    // It has read the sources by then, which lie where only root may look in a copy of them.
    const code = `
      import { takeLock } from ${JSON.stringify(new URL('./lock.ts', import.meta.url).href)};
      process.setgid(${uid});
      process.setuid(${uid});
      try { takeLock(${JSON.stringify(path())}, 0); console.log('taken'); } catch ({ message }) { console.log(message); }`;
    const take = () =>
      spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).stdout;
    expect(take()).toBe('taken\n');
    rmSync(path(), { force: true });
    writeFileSync(path(), '', { mode: 0o644 });
    expect(take()).toMatch(/^failed to lock .*a\.lock: .*has to belong to who runs this/);
  });
});
