import {
  existsSync,
  fstatSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open as openFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { readFrames } from '@csc-fleet/common/output-log';
import { createPolicySet } from '@csc-fleet/common/policy';
import { type Log, silentLog } from '@csc-fleet/common/service';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench, type WorkbenchOptions } from '@csc-fleet/test-kit/executor/workbench';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { DiskReserve } from './reserve.ts';

const mebibyte = 1024 * 1024;

let bench: Workbench;
let disk: SmallDisk;
const said: string[] = [];

afterEach(() => bench?.close());

/** An executor whose state directory is a disk of 16 MiB. */
async function open(options: WorkbenchOptions = {}): Promise<void> {
  said.length = 0;
  const note = (_: object, message: string) => void said.push(message);
  const log: Log = { info: note, warn: note, error: note };
  bench = await openWorkbench({
    disk: 16 * mebibyte,
    ...options,
    executor: { slots: 2, limits: { stdoutBytes: 4 * mebibyte, stderrBytes: 0 } },
    deps: { log },
  });
  if (bench.disk === undefined) throw new Error('there is no disk');
  disk = bench.disk;
}

const offer = (script: string) =>
  bench.gate.offer(
    makeContract(bench.workspace, [{ argv: shell(script), write_paths: [bench.out], timeout_sec: 60 }]),
    bench.policy,
  );

/** A run that goes on until `go` is there. */
function offerWaiting(then = '', before = ''): string {
  return offer(
    `${before}\n touch ${bench.out}/runs; while [ ! -e ${bench.out}/go ]; do sleep 0.02; done; ${then}`,
  );
}

const runs = () => expect.poll(() => existsSync(join(bench.out, 'runs'))).toBe(true);
const letGo = () => writeFileSync(join(bench.out, 'go'), '');

function reserveFile(): string {
  const [name = ''] = readdirSync(join(bench.stateDir, 'reserve'));
  return join(bench.stateDir, 'reserve', name);
}

// First: what the others have open is none of its.
describe('the room for receipts on a disk that becomes read-only', () => {
  it('is said to be refused for that, and is there again afterwards', () => {
    const other = new SmallDisk(mkdtempSync(join(tmpdir(), 'csc-read-only-')), 8 * 1024 * 1024);
    try {
      const reserve = new DiskReserve(other.path, silentLog);
      other.turn('ro');
      const promise = () => reserve.promise('execution', 1024 * 1024);
      expect(promise).toThrow(/state_dir .* takes no writes \(its file system is read-only\)/);
      expect(reserve.shortage).toMatch(/read-only/);
      other.turn('rw');
      promise();
      expect(reserve.shortage).toBeUndefined();
    } finally {
      other.unmount();
      rmSync(other.path, { recursive: true });
    }
  });
});

describe('an executor whose state_dir is full', () => {
  it('signs for what runs, refuses what is new, starts again, delivers, and takes work once there is room', async () => {
    await open();
    const running = offerWaiting('head -c 2000000 /dev/zero');
    await runs();
    disk.fill();
    // What is new is refused before its ticket is spent: it can run elsewhere.
    const refused = await bench.gate.next('refused', offer('true'));
    expect(refused).toMatchObject({
      reason: 'SPOOL_FULL',
      message: expect.stringMatching(/state_dir.*[Mm]ake room/),
    });
    expect(refused.receiptJson).toHaveLength(0);
    // The output finds no room, and the receipt does.
    bench.gate.acknowledges = false;
    letGo();
    expect(await bench.gate.receipt(running)).toMatchObject({
      status: 'failed',
      stdout_truncated: true,
    });
    // Whatever room that has left is somebody else's, too.
    disk.fill();
    await bench.restart();
    const owed = await bench.gate.receipt(running);
    expect(owed.execution_id).toBe(running);
    disk.fill();
    bench.gate.acknowledges = true;
    await bench.restart();
    await bench.executor.delivered();
    expect((await bench.gate.next('refused', offer('true'))).reason).toBe('SPOOL_FULL');
    expect(said).toContainEqual(expect.stringContaining('is full or takes no writes'));
    disk.makeRoom();
    expect((await bench.gate.receipt(offer('echo again'))).status).toBe('success');
    expect(said).toContainEqual(expect.stringContaining('has room again'));
  });

  it('ends what runs by a revocation that says so, with a receipt', async () => {
    await open();
    const running = offerWaiting();
    await runs();
    disk.fill();
    const freeze = { since: '2026-11-27T12:00:00Z', reason: 'a key is lost', running: 'end' } as const;
    bench.executor.reconsider({ policies: createPolicySet([]), freeze });
    expect(await bench.gate.receipt(running)).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });

  it('cuts output off where even the room for its receipt was taken', async () => {
    await open();
    const running = offerWaiting('', 'head -c 2000000 /dev/zero');
    await runs();
    await bench.gate.output.holds(running, 2_000_000);
    truncateSync(reserveFile(), 0);
    disk.fill();
    letGo();
    const receipt = await bench.gate.receipt(running);
    expect(receipt).toMatchObject({ status: 'success', stdout_truncated: true });
    // What it says of the output is true of what is left of it, and the disk has the rest back.
    const [{ outputLogLength } = { outputLogLength: 0 }] = bench.gate.all('receipt', running);
    const kept = [...readFrames(bench.gate.output.log(running).subarray(0, outputLogLength))];
    const bytes = Buffer.concat(kept.map(({ data }) => data));
    expect(bytes.length).toBeLessThan(1_100_000);
    expect(receipt.commands).toMatchObject([{ stdout_bytes: bytes.length, stdout_truncated: true }]);
    expect(receipt.stdout_hash).toBe(`sha256:${sha256Hex(bytes)}`);
  });
});

describe('an executor whose disk says only when it is asked to keep output that it has not', () => {
  /** The inodes of the spool's files, whether synced or not. `refuses`: whether one of so many bytes is not, the nth of them. */
  async function refuseToSync(code: string, refuses: (size: number, nth: number) => boolean) {
    const inodes = { synced: new Set<number>(), refused: new Set<number>() };
    const handle = await openFile('/dev/null');
    const prototype: FileHandle = Object.getPrototypeOf(handle);
    await handle.close();
    const { datasync } = prototype;
    let count = 0;
    const spy = vi.spyOn(prototype, 'datasync').mockImplementation(async function (this: FileHandle) {
      if (!readlinkSync(`/proc/self/fd/${this.fd}`).includes('/spool/')) return datasync.call(this);
      const { size, ino } = fstatSync(this.fd);
      const isRefused = refuses(size, ++count);
      inodes[isRefused ? 'refused' : 'synced'].add(ino);
      if (isRefused) throw Object.assign(new Error(`${code}: fdatasync`), { code });
      return datasync.call(this);
    });
    onTestFinished(() => spy.mockRestore());
    return inodes;
  }

  const written = 'head -c 1000000 /dev/zero';

  async function signFor(script: string) {
    bench.gate.acknowledges = false;
    const executionId = offer(script);
    const receipt = await bench.gate.receipt(executionId);
    const [{ outputLogLength } = { outputLogLength: 0 }] = bench.gate.all('receipt', executionId);
    await bench.gate.output.holds(executionId, outputLogLength);
    const [name = ''] = readdirSync(join(bench.stateDir, 'spool'));
    const log = statSync(join(bench.stateDir, 'spool', name));
    const frames = [...readFrames(bench.gate.output.log(executionId).subarray(0, outputLogLength))];
    const bytes = Buffer.concat(frames.map(({ data }) => data));
    expect(log.size).toBe(outputLogLength);
    expect(receipt.stdout_hash).toBe(`sha256:${sha256Hex(bytes)}`);
    expect(receipt.commands).toMatchObject([{ stdout_bytes: bytes.length, ended: 'exit' }]);
    return { receipt, bytes, log };
  }

  it('has all of it kept elsewhere on that disk, as what was lost once is not written by a second try', async () => {
    await open();
    const { synced, refused } = await refuseToSync('EIO', (_size, nth) => nth === 1);
    const { receipt, bytes, log } = await signFor(written);
    expect(receipt).not.toHaveProperty('stdout_truncated');
    expect(bytes).toHaveLength(1_000_000);
    expect([...synced]).toEqual([log.ino]);
    expect(refused).not.toContain(log.ino);
  });

  it.each<[string, number, number]>([
    ['ENOSPC', 600_000, 400_000],
    ['EIO', 0, 0],
  ])('signs for what it keeps of it and says that it is cut off: %s', async (code, room, least) => {
    await open();
    await refuseToSync(code, (size) => size > room);
    const { receipt, bytes } = await signFor(written);
    expect(receipt).toMatchObject({ status: 'success', stdout_truncated: true });
    expect(bytes.length).toBeGreaterThanOrEqual(least);
    expect(bytes.length).toBeLessThanOrEqual(room);
  });
});
