import type { CscError } from '@csc-fleet/common/errors';
import type { ConnectRequest, ConnectResponse, Duration, Offer } from '@csc-fleet/common/messages';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { heartbeatMs, type LinkConnection, openConnection } from './connection.ts';
import { maxWaitingBytes, Outbox } from './outbox.ts';

type FromGate = NonNullable<ConnectResponse['message']>;
type ToGate = NonNullable<ConnectRequest['message']>;

let outbox: Outbox;
let connection: LinkConnection;
let said: ToGate[];
let ended: CscError[];
let graces: number[];
let welcomes: number;
/** What the transport answers to a message. */
let takesMore: boolean;

const hello = {
  labels: {},
  slots: 1,
  version: '',
  receiptKeyId: '',
  receiptPublicKey: Buffer.alloc(0),
  policySha256s: [],
  executionMode: 'local',
  executionIds: [],
  epoch: '',
  chainHeadJson: Buffer.alloc(0),
  policies: [],
  sandbox: [],
  sentAt: undefined,
  shortage: '',
  receiptlessIds: [],
  receiptKeyStatementJson: Buffer.alloc(0),
};

beforeEach(() => {
  vi.useFakeTimers();
  [outbox, said, ended, graces, welcomes, takesMore] = [new Outbox(), [], [], [], 0, true];
  const send = ({ message }: ConnectRequest): boolean => {
    if (message !== undefined) said.push(message);
    return takesMore;
  };
  const handlers = {
    welcomed: () => {
      welcomes += 1;
    },
    offered: (_offer: Offer) => undefined,
    confirmed: () => undefined,
    gone: () => undefined,
    cancelled: (_executionId: string, graceMs: number) => void graces.push(graceMs),
    acknowledged: () => undefined,
    typed: async () => ({ executionId: '', sequence: 0, ended: '' }),
    policyChanged: () => undefined,
    withdrawn: () => undefined,
    heardTime: () => undefined,
    now: () => new Date(),
    running: () => 0,
    wouldRefuse: () => 0,
    shortage: () => '',
    chainHead: () => Buffer.alloc(0),
  };
  connection = openConnection(hello, { send, hangUp: (error) => void ended.push(error) }, outbox, handlers);
});

afterEach(() => {
  connection.closed();
  vi.useRealTimers();
});

const receive = (message: FromGate) => connection.receive({ message });
const welcome = (heartbeatInterval?: Duration) =>
  receive({
    $case: 'welcome',
    value: {
      gateId: 'gate',
      heartbeatInterval,
      chainHeadJson: Buffer.alloc(0),
      sentAt: undefined,
    },
  });
const refused = (bytes: number): ToGate => ({
  $case: 'refused',
  value: {
    executionId: 'x',
    reason: 'INTERNAL',
    message: 'x'.repeat(bytes),
    receiptJson: Buffer.alloc(0),
    originalJson: Buffer.alloc(0),
    lasting: false,
  },
});
const started = (commandId: string): ToGate => ({
  $case: 'commandStarted',
  value: { executionId: 'x', commandId, index: 0 },
});

describe('a session with the gate', () => {
  it('ends with a second Welcome, which is not heard', () => {
    welcome();
    welcome();
    expect([welcomes, connection.isOpen, outbox.isOpen]).toEqual([1, false, false]);
    expect(ended.map(({ message }) => message)).toEqual([expect.stringContaining('Welcome a second time')]);
    welcome();
    expect([welcomes, ended.length]).toEqual([1, 1]);
  });

  it('counts how long the gate was there, in all its connections together, from each Welcome on', () => {
    vi.advanceTimersByTime(3000);
    expect(outbox.openMs).toBe(0);
    welcome();
    vi.advanceTimersByTime(2000);
    expect(outbox.openMs).toBe(2000);
    connection.closed();
    vi.advanceTimersByTime(60_000);
    outbox.open(() => true);
    vi.advanceTimersByTime(500);
    expect(outbox.openMs).toBe(2500);
    outbox.close();
    outbox.close();
    expect(outbox.openMs).toBe(2500);
  });

  it('ends with an execution id that is too long to be said again', () => {
    welcome();
    const empty = Buffer.alloc(0);
    const parts = { ticketJson: empty, contractJson: empty, approvalsJson: [], submissionJson: empty };
    receive({ $case: 'offer', value: { executionId: 'x'.repeat(257), ...parts } });
    expect([connection.isOpen, ended.length]).toEqual([false, 1]);
  });

  it.each<[string, Duration, number]>([
    ['2^40 ms', { seconds: 2 ** 40 / 1000, nanos: 0 }, 300_000],
    ['the longest that there is', { seconds: Number.MAX_SAFE_INTEGER, nanos: 999_999_999 }, 300_000],
    ['none at all', { seconds: 0, nanos: 0 }, 100],
    ['less than none', { seconds: -5, nanos: -1 }, 100],
    ['no number', { seconds: Number.NaN, nanos: 0 }, 10_000],
  ])(
    'beats its heart within bounds where the gate asks for an interval of %s',
    (_what, interval, expected) => {
      expect(heartbeatMs(interval)).toBe(expected);
      welcome(interval);
      vi.advanceTimersByTime(expected - 1);
      expect(said).toHaveLength(1);
      vi.advanceTimersByTime(1);
      expect(said).toHaveLength(2);
    },
  );

  it.each<[Duration | undefined, number]>([
    [{ seconds: 2 ** 40, nanos: 0 }, 60_000],
    [{ seconds: -1, nanos: 0 }, 0],
    [{ seconds: 0, nanos: Number.NaN }, 5_000],
    [undefined, 5_000],
  ])('gives a job a grace period within bounds (%j)', (gracePeriod, expected) => {
    receive({ $case: 'cancel', value: { executionId: 'x', gracePeriod } });
    expect(graces).toEqual([expected]);
  });
});

describe('the head of a chain', () => {
  const saidAfter = (ms: number): number => {
    vi.advanceTimersByTime(ms);
    return said.filter(({ $case }) => $case === 'heartbeat').length;
  };
  beforeEach(() => welcome({ seconds: 300, nanos: 0 }));

  it('is said at once where the one before is long ago, and soon after the last of many', () => {
    connection.signed();
    expect(saidAfter(0)).toBe(1);
    for (let count = 0; count < 3; count += 1) {
      connection.signed();
      expect(saidAfter(50)).toBe(1);
    }
    expect(saidAfter(50)).toBe(2);
    expect(saidAfter(10_000)).toBe(2);
  });

  it('is said once a second by a host that signs all the time', () => {
    for (let ms = 0; ms < 4900; ms += 40) {
      connection.signed();
      saidAfter(40);
    }
    expect(saidAfter(0)).toBe(5);
  });
});

describe('what nobody waits for', () => {
  beforeEach(() => {
    welcome();
    for (const name of ['one', 'two']) outbox.postSoon(started(name));
    expect(said).toHaveLength(1);
  });

  it('goes out after a moment, in order', () => {
    vi.advanceTimersByTime(5);
    expect(said.slice(1)).toEqual(['one', 'two'].map(started));
    outbox.postSoon(started('three'));
    expect(said).toHaveLength(3);
    vi.advanceTimersByTime(5);
    expect(said.slice(3)).toEqual([started('three')]);
  });

  it('goes out just before what is said meanwhile, and once', () => {
    outbox.post(refused(1));
    expect(said.slice(1)).toEqual([...['one', 'two'].map(started), refused(1)]);
    vi.advanceTimersByTime(60);
    expect(said).toHaveLength(4);
  });

  it('waits for the next connection where this one ends first', () => {
    connection.closed();
    vi.advanceTimersByTime(60);
    expect(said).toHaveLength(1);
    const again: ToGate[] = [];
    outbox.open(({ message }) => message !== undefined && again.push(message));
    outbox.post(started('three'));
    expect(again).toEqual(['one', 'two', 'three'].map(started));
  });

  it('keeps its place where the way takes no more', () => {
    takesMore = false;
    outbox.post(started('three'));
    outbox.postSoon(started('four'));
    vi.advanceTimersByTime(60);
    expect(said.slice(1)).toEqual([started('one')]);
    takesMore = true;
    connection.drained();
    expect(said.slice(1)).toEqual(['one', 'two', 'three', 'four'].map(started));
  });
});

describe('a gate that does not read', () => {
  beforeEach(() => {
    welcome();
    takesMore = false;
    outbox.post(started('first'));
  });

  it('is told no more than the way takes, and the rest in order once it reads again', () => {
    for (const name of ['second', 'third']) outbox.post(started(name));
    vi.advanceTimersByTime(60_000);
    expect(said.slice(1)).toEqual([started('first')]);
    connection.drained();
    expect(said.slice(1)).toEqual([started('first'), started('second')]);
    takesMore = true;
    connection.drained();
    expect(said.slice(1)).toEqual(['first', 'second', 'third'].map(started));
  });

  it('loses its connection before what waits for it fills the memory', () => {
    for (let count = 0; count < 1000; count += 1) outbox.post(refused(1 << 20));
    expect(outbox.waitingBytes).toBeLessThanOrEqual(maxWaitingBytes);
    expect([connection.isOpen, ended.length]).toEqual([false, 1]);
  });

  it('is told of the newest that happened, once it is back, where it all became too much', () => {
    for (let count = 0; count < 20; count += 1) outbox.post(started(`${count}`.padEnd(1 << 20)));
    outbox.post(started('last'));
    expect(ended).toHaveLength(1);
    expect(outbox.waitingBytes).toBeLessThanOrEqual(maxWaitingBytes);
    const again: ToGate[] = [];
    outbox.open(({ message }) => message !== undefined && again.push(message));
    expect(again.at(-1)).toEqual(started('last'));
  });
});
