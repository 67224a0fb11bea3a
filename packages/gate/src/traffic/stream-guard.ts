import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { CscError } from '@csc-fleet/common/errors';
import { type ErrorLog, toServiceError, toTrailersOnly } from '@csc-fleet/common/rpc';
import { checkCaller } from './authenticate.ts';
import type { TrafficLimits } from './limits.ts';
import { MessageMeter } from './message-meter.ts';
import type { Parties, Party } from './parties.ts';
import { endSession, type GuardedSession, type SessionGuard } from './session-guard.ts';

interface Open {
  readonly stream: ServerHttp2Stream;
  readonly party: Party;
  readonly meter: MessageMeter;
  /** Its caller goes on sending for as long as it likes. */
  readonly bidirectional: boolean;
  /** Its answer is one message, which is written as a whole. */
  readonly oneAnswer: boolean;
  /** When (monotonic milliseconds) what has begun must be whole; Infinity where nothing has. */
  due: number;
  /** The same of when its whole answer must be taken; absent where that is not written yet. */
  takenBy?: number;
}

/**
 * Whoever reads a stream that was let in tells this first of what it brings, so that a short call has one listener and
 * not two.
 */
export interface Watch {
  /** Whose stream it is: the same for all that one party has open. */
  readonly party: object;
  /** May end the stream. */
  readonly took: (chunk: Buffer) => void;
  readonly ended: () => void;
}

export interface StreamGuardOptions {
  readonly parties: Parties;
  readonly sessions: SessionGuard;
  readonly limits: TrafficLimits;
  /** Of a client's message. */
  readonly maxMessageBytes: number;
  /** The gate's own, and the only one that callers may be of. */
  readonly trustDomain: string;
  readonly log: ErrorLog;
  /** Paths of the methods with one answer. */
  readonly oneAnswer: ReadonlySet<string>;
}

// A message costs its caller a call for each of these: parsing, hashing and judging take the longer the longer it is.
const bytesPerCall = 64 * 1024;

// What leaves may take so many times as long as what comes: an answer may have 8 MiB.
const answerTimeouts = 6;

// Gate, and Fleet, whose calls are counted like any other.
const clientServices = '/csc.gate.v1.';
const linkService = '/csc.link.v1.ExecutorLink/';
const reflectionService = '/grpc.reflection.';

/**
 * Decides on every stream before gRPC sees it, whatever method it names, and follows what it sends: how many are open,
 * how fast they come, how much of messages that are not whole is held, and for how long. What is too much is refused
 * with RESOURCE_EXHAUSTED before it is read.
 */
export class StreamGuard {
  readonly #options: StreamGuardOptions;
  readonly #open = new Set<Open>();
  /** Bytes held of messages that are not whole, or whose call has not ended. */
  readonly #held = { client: 0, gate: 0, executor: 0 };

  constructor(options: StreamGuardOptions) {
    this.#options = options;
  }

  /** Of a stream that is to be served; undefined where it has been answered. */
  admit(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Watch | undefined {
    stream.on('error', () => undefined);
    const session = this.#options.sessions.find(stream.session as Parameters<SessionGuard['find']>[0]);
    if (session === undefined) {
      stream.destroy();
      return undefined;
    }
    session.streams += 1;
    try {
      return this.#follow(stream, session, headers[':path'] ?? '', headers.authorization !== undefined);
    } catch (error) {
      this.#refuse(stream, session.party, error);
      return undefined;
    }
  }

  /** Ends the calls whose message has not become whole, or whose answer is not taken, in time. Once a second. */
  look(): void {
    const now = performance.now();
    for (const open of this.#open) {
      if (this.#isLeftUnread(open, now)) {
        this.#refuse(open.stream, open.party, limited('the answer was not read in time'));
        continue;
      }
      if (open.due > now) continue;
      // The gate itself does not read on, as its disk is busy: the caller may be sending as fast as it can.
      if (open.stream.isPaused()) open.due = now + this.#timeoutMs;
      else this.#refuse(open.stream, open.party, tooSlow(this.#options.limits.messageTimeoutSec));
    }
  }

  // It lies in memory until then, however long its caller goes on without reading it. Of a stream little does, and people may
  // read that slowly.
  #isLeftUnread(open: Open, now: number): boolean {
    if (!open.oneAnswer || !open.stream.headersSent) return false;
    open.takenBy ??= now + answerTimeouts * this.#timeoutMs;
    return open.takenBy <= now;
  }

  get #timeoutMs(): number {
    return this.#options.limits.messageTimeoutSec * 1000;
  }

  #checkRole(party: Party, path: string): void {
    const identity = party.identity();
    const { trustDomain } = this.#options;
    if (path.startsWith(clientServices)) checkCaller(identity, 'client', trustDomain);
    if (path.startsWith(linkService)) checkCaller(identity, 'executor', trustDomain);
  }

  #follow(stream: ServerHttp2Stream, session: GuardedSession, path: string, hasToken: boolean): Watch {
    const { party } = session;
    const leave = party.calls.enter(party.name);
    stream.on('close', leave);
    const { role } = party;
    // Whether the token is any good is for the interceptors to say; for anything else there must be a certificate.
    if (!(party.mayShowToken && hasToken && path.startsWith(clientServices))) this.#checkRole(party, path);
    const bidirectional = path.startsWith(linkService) || path.startsWith(reflectionService);
    const open: Open = {
      stream,
      party,
      meter: new MessageMeter(!bidirectional),
      bidirectional,
      oneAnswer: this.#options.oneAnswer.has(path),
      due: performance.now() + this.#timeoutMs,
    };
    this.#open.add(open);
    const release = (): void => {
      party.announced -= open.meter.announced;
      this.#held[role] -= open.meter.held;
      open.meter.end();
    };
    stream.on('close', () => {
      this.#open.delete(open);
      release();
    });
    return {
      party,
      took: (chunk) => {
        session.body += chunk.length;
        this.#take(open, chunk, path);
      },
      ended: () => {
        open.due = Number.POSITIVE_INFINITY;
        release();
      },
    };
  }

  #take(open: Open, chunk: Buffer, path: string): void {
    const { meter, party, stream } = open;
    const { held, announced, whole, wholeBytes, partial } = meter;
    meter.take(chunk);
    this.#held[party.role] += meter.held - held;
    party.announced += meter.announced - announced;
    try {
      this.#check(open);
      const calls = this.#costOf(open, path, meter.whole - whole, meter.wholeBytes - wholeBytes);
      party.calls.spend(party.name, calls);
    } catch (error) {
      this.#refuse(stream, party, error);
      return;
    }
    if (!open.bidirectional) return;
    if (!meter.partial) open.due = Number.POSITIVE_INFINITY;
    else if (!partial || meter.whole > whole) open.due = performance.now() + this.#timeoutMs;
  }

  #check({ meter, party }: Open): void {
    const { limits, maxMessageBytes } = this.#options;
    if (meter.compressed) {
      throw new CscError('REQUEST_INVALID', 'this gate takes no compressed messages: send it as it is');
    }
    if (party.role !== 'executor' && meter.announced > maxMessageBytes) {
      const message = `the request has ${meter.announced} bytes; this gate takes ${maxMessageBytes}`;
      throw new CscError('MESSAGE_TOO_LARGE', message);
    }
    if (meter.isOpen && party.announced > limits.bytesInFlight) {
      const message = `this identity has more than ${limits.bytesInFlight} bytes of requests on their way: wait for some to be answered`;
      throw limited(message);
    }
    if (meter.isOpen && this.#held[party.role] > limits.totalBytesInFlight) {
      throw limited('this gate has too much on its way from everybody: try again in a moment');
    }
  }

  // The first message of a call is paid for with the call. Executors push output: that is bounded by what it is of.
  #costOf({ bidirectional, party, meter }: Open, path: string, whole: number, bytes: number): number {
    if (whole === 0 || party.role === 'executor') return 0;
    const more =
      bidirectional && path.startsWith(reflectionService) ? whole - (meter.whole === whole ? 1 : 0) : 0;
    return more + Math.floor(bytes / bytesPerCall);
  }

  #refuse(stream: ServerHttp2Stream, party: Party, error: unknown): void {
    refuse(stream, error, this.#options.log);
    for (const session of this.#options.parties.offended(party)) endSession(session);
  }
}

function tooSlow(seconds: number): CscError {
  return limited(`the request was not whole within ${seconds} s: send it again, in one go`);
}

function limited(message: string): CscError {
  return new CscError('RATE_LIMITED', message, { retryAfterMs: 1000 });
}

/**
 * Ends a stream with an error's status, without a word of its body being read: trailers only, then RST_STREAM with
 * NO_ERROR (RFC 9113 §8.1), which tells the peer to stop sending. Where an answer has begun there can be no such status
 * any more: then RST_STREAM with ENHANCE_YOUR_CALM, which gRPC clients take as RESOURCE_EXHAUSTED.
 */
function refuse(stream: ServerHttp2Stream, error: unknown, log?: ErrorLog): void {
  if (stream.closed || stream.destroyed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  stream.respond(toTrailersOnly(toServiceError(error, log)), { endStream: true });
  stream.close(constants.NGHTTP2_NO_ERROR);
}
