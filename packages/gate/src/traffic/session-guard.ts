import { constants, type ServerHttp2Session } from 'node:http2';
import { TokenBucket } from '@csc-fleet/common/doorway';
import type { Parties, Party } from './parties.ts';

// gRPC clients ping every few seconds, and some measure the round trip with pings while they read.
const pings = { perSec: 20, burst: 200 };
// A peer sends its settings once, and again where it widens a window.
const settings = { perSec: 2, burst: 50 };
// What may come in a second beside the bodies of messages: headers, window updates, frames of unknown types.
const overheadPerSec = { client: 1024 * 1024, gate: 1024 * 1024, executor: 16 * 1024 * 1024 };
const overheadPerStream = 16 * 1024;

/** One connection, as the guard of streams sees it. */
export interface GuardedSession {
  readonly party: Party;
  /** Streams that were opened since the last look. */
  streams: number;
  /** Bytes of bodies that came since the last look. */
  body: number;
  bytesRead: number;
}

/**
 * Watches connections for what costs the gate and makes no call: pings (CVE-2019-9512), settings (CVE-2019-9515), and
 * whatever else makes bytes without bodies, as empty or unknown frames do (CVE-2019-9518). Resets, header lists and
 * CONTINUATION frames are bounded by nghttp2 itself, with the numbers of readServerCredentials.
 */
export class SessionGuard {
  readonly #parties: Parties;
  readonly #sessions = new Map<ServerHttp2Session, GuardedSession>();
  #isOver = false;

  constructor(parties: Parties) {
    this.#parties = parties;
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
    this.#sessions.set(session, { party, streams: 0, body: 0, bytesRead: session.socket.bytesRead });
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

  /** Ends connections on which far more came than calls account for. Once a second. */
  look(): void {
    for (const [session, guarded] of this.#sessions) {
      if (session.destroyed) continue;
      const { bytesRead } = session.socket;
      const overhead = bytesRead - guarded.bytesRead - guarded.body - guarded.streams * overheadPerStream;
      if (overhead > overheadPerSec[guarded.party.role]) endSession(session);
      Object.assign(guarded, { bytesRead, body: 0, streams: 0 });
    }
  }
}

/** Ends a connection and says why, as gRPC peers understand it: too much. */
export function endSession(session: ServerHttp2Session): void {
  if (session.destroyed) return;
  session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}
