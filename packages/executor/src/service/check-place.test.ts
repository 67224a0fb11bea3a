import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkPlace } from './check-place.ts';

const day = 24 * 3600 * 1000;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'csc-place-'));
  await createDevelopmentPki(directory, { executors: ['now'] });
  const clock = { now: () => new Date(Date.now() - 900 * day) };
  await createDevelopmentPki(directory, { executors: ['then'], clock });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function tls(name: string) {
  const file = (it: string): string => join(directory, it);
  return { ca: file('ca.pem'), cert: file(`executor-${name}.pem`), key: file(`executor-${name}.key`) };
}

describe('the place of an executor', () => {
  it('is well where its state can be written and its certificate counts', () => {
    const checks = checkPlace({ stateDir: join(directory, 'state'), tls: tls('now') });
    expect(checks).toEqual([
      { name: 'state-dir', ok: true, detail: expect.stringContaining(`${directory}/state can be written`) },
      { name: 'certificate', ok: true, detail: expect.stringContaining('executor-now.pem counts until') },
    ]);
  });

  it('is not where its certificate has ended, or is not there', () => {
    const [, ended] = checkPlace({ stateDir: directory, tls: tls('then') });
    expect(ended).toMatchObject({
      ok: false,
      detail: expect.stringContaining('executor-then.pem ended on'),
      remedy: expect.stringContaining('timedatectl'),
    });
    const [, missing] = checkPlace({ stateDir: directory, tls: tls('nobody') });
    expect(missing).toMatchObject({ ok: true, detail: expect.stringContaining('not known') });
  });

  it.runIf(process.getuid?.() === 0)('is not where its disk is full, or read-only', () => {
    const disk = new SmallDisk(join(directory, 'disk'), 4 * 1024 * 1024);
    onTestFinished(() => disk.unmount());
    const place = { stateDir: join(disk.path, 'state'), tls: tls('now') };
    const isWell = () => checkPlace(place)[0]?.ok;
    expect(isWell()).toBe(true);
    disk.fill();
    expect(isWell()).toBe(false);
    disk.makeRoom();
    disk.turn('ro');
    expect(checkPlace(place)[0]).toMatchObject({
      ok: false,
      detail: expect.stringContaining(`${disk.path}, which cannot be written`),
    });
  });
});
