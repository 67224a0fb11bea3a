import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { Signal, silentLog } from '@csc-fleet/common/service';
import { describe, expect, it, vi } from 'vitest';
import { Backlog, mostAtOnce } from './backlog.ts';
import type { ReadableLog } from './read-log.ts';
import { type OutputSink, pushOutput } from './uplink.ts';
import { Uploads } from './uploads.ts';

const frame = Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0x04]), Buffer.alloc(65_536, 'x')]);

/** A log in memory, of whole frames. */
class GrowingLog implements ReadableLog {
  readonly executionId: string = 'execution';
  ended = false;
  frames = 0;
  readonly #changes = new Signal();

  get length(): number {
    return this.frames * frame.length;
  }

  grow(count: number): void {
    this.frames += count;
    this.#changes.ring();
  }

  end(): void {
    this.ended = true;
    this.#changes.ring();
  }

  async read(offset: number, maxBytes: number): Promise<Uint8Array> {
    const count = Math.max(Math.floor(Math.min(maxBytes, this.length - offset) / frame.length), 1);
    return Buffer.concat(Array.from({ length: count }, () => frame));
  }

  changed(abort?: AbortSignal): Promise<void> {
    return this.#changes.wait(abort);
  }

  get waiting(): number {
    return this.#changes.waiting;
  }
}

/** A gate that holds what it acknowledged, and acknowledges when it is told to. */
class ManualSink implements OutputSink {
  held = 0;
  sent = 0;
  asked = 0;
  begun = 0;
  finished = 0;
  refusal: Error | undefined;
  automatic = false;
  /** Of each message, in bytes. */
  readonly sizes: number[] = [];
  readonly #acknowledgements: (() => void)[] = [];

  async committedLength(): Promise<number> {
    this.asked += 1;
    if (this.refusal !== undefined) throw this.refusal;
    this.begun += 1;
    this.sent = this.held;
    return this.held;
  }

  append(_executionId: string, logOffset: number, frames: Uint8Array): Promise<number> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    if (logOffset !== this.sent) return Promise.reject(new Error('a gap'));
    this.sent += frames.length;
    this.sizes.push(frames.length);
    const until = this.sent;
    return new Promise((resolve) => {
      const acknowledge = () => {
        this.held = until;
        resolve(until);
      };
      if (this.automatic) acknowledge();
      else this.#acknowledgements.push(acknowledge);
    });
  }

  acknowledge(): void {
    for (const acknowledge of this.#acknowledgements.splice(0)) acknowledge();
  }

  finish(): void {
    this.finished += 1;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1);
}

// Nothing here waits for anything outside of this process.
async function untilStill(read: () => number): Promise<void> {
  for (let before = -1; before !== read(); ) {
    before = read();
    for (let turn = 0; turn < 10; turn += 1) await setImmediate();
  }
}

const never = new AbortController().signal;

describe('pushOutput', () => {
  it('sends a log as it grows, and ends when the gate holds all of it', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    sink.automatic = true;
    const pushed = pushOutput(log, sink, never);
    log.grow(3);
    await until(() => sink.held === log.length);
    log.grow(40);
    log.end();
    await pushed;
    expect(sink.held).toBe(log.length);
    expect(sink.finished).toBe(1);
  });

  it('sends the first piece at once, and gathers what follows while that is under way', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    const gathering = new Signal();
    const pushed = pushOutput(log, sink, never, undefined, () => gathering.wait());
    await untilStill(() => sink.asked);
    log.grow(1);
    await untilStill(() => sink.sent);
    expect(sink.sizes).toEqual([frame.length]);
    for (let piece = 0; piece < 3; piece += 1) {
      log.grow(1);
      await untilStill(() => sink.sent);
    }
    expect(sink.sizes).toHaveLength(1);
    gathering.ring();
    await untilStill(() => sink.sent);
    expect(sink.sizes).toEqual([frame.length, 3 * frame.length]);
    // A full one has nothing to wait for, nor has the end.
    log.grow(4);
    await untilStill(() => sink.sent);
    log.grow(1);
    log.end();
    gathering.ring();
    await untilStill(() => sink.sent);
    expect(sink.sizes.slice(2)).toEqual([4 * frame.length, frame.length]);
    sink.acknowledge();
    await pushed;
  });

  it('keeps at most 4 MiB unacknowledged', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    log.grow(200);
    log.end();
    const pushed = pushOutput(log, sink, never);
    let most = 0;
    while (sink.held < log.length) {
      await untilStill(() => sink.sent);
      most = Math.max(most, sink.sent - sink.held);
      sink.acknowledge();
    }
    await pushed;
    expect(most).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(most).toBeGreaterThan(2 * 1024 * 1024);
  });

  it('waits once at a log that is still, however often the gate answers meanwhile', async () => {
    const [log, sink, stop] = [new GrowingLog(), new ManualSink(), new AbortController()];
    log.grow(200);
    const pushed = pushOutput(log, sink, stop.signal);
    let most = 0;
    while (sink.held < log.length) {
      await untilStill(() => sink.sent);
      most = Math.max(most, log.waiting);
      sink.acknowledge();
    }
    await untilStill(() => sink.held);
    expect([most, log.waiting]).toEqual([1, 1]);
    stop.abort(new Error('over'));
    await expect(pushed).rejects.toThrow('over');
  });

  it('goes on from where the gate is', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    log.grow(10);
    log.end();
    sink.held = 4 * frame.length;
    sink.automatic = true;
    await pushOutput(log, sink, never);
    expect(sink.held).toBe(log.length);
  });

  it('has nothing to send where the gate holds more than the host kept', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    log.grow(1);
    log.end();
    sink.held = 5 * frame.length;
    await pushOutput(log, sink, never);
    expect(sink.sent).toBe(sink.held);
  });

  it('reads no more of the log than the way to the gate takes', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    sink.automatic = true;
    log.grow(40);
    log.end();
    const full = Promise.withResolvers<void>();
    let rooms = 0;
    const narrow = Object.assign(sink, {
      room: () => {
        rooms += 1;
        return rooms === 3 ? full.promise : undefined;
      },
    });
    const pushed = pushOutput(log, narrow, never);
    await until(() => rooms === 3);
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    expect(sink.sent).toBeLessThan(log.length);
    full.resolve();
    await pushed;
    expect(sink.held).toBe(log.length);
  });

  it('is not led on by a gate that holds more than there is, or than it was sent', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    log.grow(2);
    sink.held = log.length + 1;
    await expect(pushOutput(log, sink, never)).rejects.toMatchObject({ code: 'GATE_UNREACHABLE' });
    const boasting = Object.assign(new ManualSink(), { append: async () => Number.MAX_SAFE_INTEGER });
    await expect(pushOutput(log, boasting, never)).rejects.toMatchObject({ code: 'GATE_UNREACHABLE' });
    const confused = Object.assign(new ManualSink(), { append: async () => Number.NaN });
    await expect(pushOutput(log, confused, never)).rejects.toMatchObject({ code: 'GATE_UNREACHABLE' });
  });

  it('ends with the sink that fails, and when it is told to', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    log.grow(1);
    const stop = new AbortController();
    const stopped = pushOutput(log, sink, stop.signal);
    await until(() => sink.sent > 0);
    stop.abort(new Error('enough'));
    await expect(stopped).rejects.toThrow('enough');
    sink.refusal = new Error('gone');
    await expect(pushOutput(log, sink, never)).rejects.toThrow('gone');
  });
});

describe('Uploads', () => {
  it('tries again until the gate has all, at once when it comes back', async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    sink.automatic = true;
    sink.refusal = new CscError('GATE_UNREACHABLE', 'no');
    const uploads = new Uploads(sink, silentLog);
    log.grow(2);
    log.end();
    void uploads.start(log);
    void uploads.start(log);
    await until(() => sink.asked === 1);
    await setImmediate();
    sink.refusal = undefined;
    uploads.wake();
    await until(() => sink.held === log.length);
    expect(sink.begun).toBe(1);
  });

  it('waits as at first where the gate that came back cannot be reached yet', {
    timeout: 8_000,
  }, async () => {
    const [log, sink] = [new GrowingLog(), new ManualSink()];
    sink.automatic = true;
    sink.refusal = new CscError('GATE_UNREACHABLE', 'no');
    const uploads = new Uploads(sink, silentLog);
    log.grow(2);
    log.end();
    void uploads.start(log);
    // As many as make a wait of ten seconds, were each twice the one before.
    for (let asked = 1; asked <= 7; asked++) {
      await until(() => sink.asked === asked);
      await setImmediate();
      uploads.wake();
    }
    await until(() => sink.asked === 8);
    sink.refusal = undefined;
    await until(() => sink.held === log.length);
  });

  it('does not bother the gate with an execution that has no output, nor with one it does not know', async () => {
    const [empty, unknown, sink] = [new GrowingLog(), new GrowingLog(), new ManualSink()];
    const uploads = new Uploads(sink, silentLog);
    empty.end();
    await uploads.start(empty);
    expect(sink.begun).toBe(0);
    sink.refusal = new CscError('EXECUTION_UNKNOWN', 'no');
    unknown.grow(1);
    await uploads.start(unknown);
    sink.refusal = undefined;
    uploads.wake();
    expect(sink.begun).toBe(0);
  });
});

describe('Backlog', () => {
  class Stored extends GrowingLog {
    override readonly executionId: string;
    closed = false;

    constructor(executionId: string) {
      super();
      this.executionId = executionId;
      this.grow(1);
      this.end();
    }

    async close(): Promise<void> {
      this.closed = true;
    }
  }

  const backlogOf = (names: readonly string[], sink: OutputSink) => {
    const opened: Stored[] = [];
    const backlog = new Backlog(new Uploads(sink, silentLog), silentLog);
    const open = (executionId: string) => () => {
      const log = new Stored(executionId);
      opened.push(log);
      return log;
    };
    for (const executionId of names) backlog.add({ executionId, open: open(executionId) });
    return { backlog, opened };
  };
  const names = Array.from({ length: 3 * mostAtOnce }, (_, index) => `execution-${index}`);

  it('opens a few logs at a time where the gate takes none of them, and gives all of them back', async () => {
    const silent: OutputSink = { committedLength: () => new Promise(() => {}), append: async () => 0 };
    const { backlog, opened } = backlogOf(names, silent);
    const live = new Stored('live');
    backlog.add({ executionId: 'live', open: () => live }, live);
    await until(() => live.closed);
    expect(opened).toHaveLength(mostAtOnce);
    await backlog.drop('execution-0');
    expect(opened).toHaveLength(mostAtOnce + 1);
    await backlog.close();
    expect(opened.every(({ closed }) => closed)).toBe(true);
  });

  it('gives others their turn where the gate takes nothing of those that have it', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const taken = new Set<string>();
    const sink: OutputSink = {
      committedLength: async (id) => (Number(id.split('-')[1]) < mostAtOnce ? new Promise(() => {}) : 0),
      append: async (id, offset, frames) => {
        taken.add(id);
        return offset + frames.length;
      },
    };
    const { backlog } = backlogOf(names, sink);
    await setImmediate();
    expect([...taken]).toEqual([]);
    vi.advanceTimersByTime(60_000);
    await until(() => taken.size === names.length - mostAtOnce);
    await backlog.close();
    vi.useRealTimers();
  });
});
