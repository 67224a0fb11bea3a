import { constants, type ServerHttp2Session } from 'node:http2';
import { TokenBucket } from '@csc-fleet/common/doorway';
import { certificateEndOf } from '@csc-fleet/common/rpc';
import type { Parties, Party } from './parties.ts';

// gRPC clients ping every few seconds, and some measure the round trip with pings while they read.
const pings = { perSec: 20, burst: 200 };
// A peer sends its settings once, and again where it widens a window.
const settings = { perSec: 2, burst: 50 };
// What may come in a second beside the bodies of messages: headers, window updates, frames of unknown types.
const overheadPerSec = { client: 1024 * 1024, gate: 1024 * 1024, executor: 16 * 1024 * 1024 };
const overheadPerStream = 16 * 1024;

// In which an executor whose certificate has ended may end what it is about to send.
const graceMs = 2_000;

/** One connection, as the guard of streams sees it. */
export interface GuardedSession {
  readonly party: Party;
  /** Streams that were opened since the last look. */
  streams: number;
  /** Bytes of bodies that came since the last look. */
  body: number;
  bytesRead: number;
  /** When its certificate ends, in milliseconds since 1970. Absent: it has shown none of ours, and its calls show a token each. */
  readonly certificateEnds?: number | undefined;
}

/**
 * Watches connections for what costs the gate and makes no call: pings (CVE-2019-9512), settings (CVE-2019-9515), and
 * whatever else makes bytes without bodies, as empty or unknown frames do (CVE-2019-9518). Resets, header lists and
 * CONTINUATION frames are bounded by nghttp2 itself, with the numbers of readServerCredentials.
 *
 * And holds them to their certificates, which TLS looks at in its handshake alone: once it has ended, a connection takes no new
 * call, and that of an executor, whose one call would last for ever, is ended.
 */
export class SessionGuard {
  readonly #parties: Parties;
  readonly #sessions = new Map<ServerHttp2Session, GuardedSession>();
  readonly #onEnded: (session: ServerHttp2Session) => void;
  #isOver = false;

  /** @param onEnded told of an executor's connection whose certificate has ended, before it is ended */
  constructor(parties: Parties, onEnded: (session: ServerHttp2Session) => void) {
    this.#parties = parties;
    this.#onEnded = onEnded;
  }

  /** Undefined for a connection that was ended. */
  find(session: ServerHttp2Session | undefined): GuardedSession | undefined {
    return session === undefined ? undefined : this.#sessions.get(session);
  }

  enter(session: ServerHttp2Session): void {
    session.on('error', () => undefined);
    if (this.#isOver) {
      session.destroy();
      return;
    }
    const party = this.#parties.enter(session);
    if (party === undefined) {
      endSession(session);
      return;
    }
    const certificateEnds = certificateEndOf(session);
    const { bytesRead } = session.socket;
    this.#sessions.set(session, { party, streams: 0, body: 0, bytesRead, certificateEnds });
    session.on('close', () => this.#sessions.delete(session));
    const bound = (event: 'ping' | 'remoteSettings', { perSec, burst }: typeof pings): void => {
      const bucket = new TokenBucket(perSec, burst, performance.now());
      session.on(event, () => {
        if (!bucket.take(performance.now())) endSession(session);
      });
    };
    bound('ping', pings);
    bound('remoteSettings', settings);
  }

  /** Takes no more connections. Resolves when all that there are have closed. */
  async over(): Promise<void> {
    this.#isOver = true;
    const closed = (it: ServerHttp2Session) => new Promise((resolve) => it.once('close', resolve));
    await Promise.all([...this.#sessions.keys()].map(closed));
  }

  /** Ends connections on which far more came than calls account for, or whose certificate has ended. Once a second. */
  look(): void {
    const now = Date.now();
    for (const [session, guarded] of this.#sessions) {
      if (session.destroyed) continue;
      const { certificateEnds = Number.POSITIVE_INFINITY } = guarded;
      if (certificateEnds < now) this.#outlived(session, guarded, now - certificateEnds);
      const { bytesRead } = session.socket;
      const overhead = bytesRead - guarded.bytesRead - guarded.body - guarded.streams * overheadPerStream;
      if (overhead > overheadPerSec[guarded.party.role]) endSession(session);
      Object.assign(guarded, { bytesRead, body: 0, streams: 0 });
    }
  }

  // What a client follows goes on to its end.
  #outlived(session: ServerHttp2Session, { party }: GuardedSession, ms: number): void {
    if (!session.closed) session.close();
    if (party.role !== 'executor' || ms < graceMs || session.destroyed) return;
    this.#onEnded(session);
    session.destroy();
  }
}

/** Ends a connection and says why, as gRPC peers understand it: too much. */
export function endSession(session: ServerHttp2Session): void {
  if (session.destroyed) return;
  session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}
