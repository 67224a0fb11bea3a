import type { ServerHttp2Session } from 'node:http2';
import { addressKey, TokenBucket } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';
import { type Identity, identityOfSession, presentedKeyOfSession, type Role } from '@csc-fleet/common/rpc';
import { CallLimits, type CallRate, type TrafficLimits } from './limits.ts';

/** Everything that one identity has open at the gate, or one address where a certificate names no party of ours. */
export interface Party {
  readonly name: string;
  readonly role: Role;
  /** Throws why there is none. */
  identity(): Identity;
  /** It has none, and may say by tokens, call by call, who it is: all of an address share what one identity may do. */
  readonly mayShowToken: boolean;
  readonly sessions: Set<ServerHttp2Session>;
  readonly calls: CallLimits;
  /** Calls that may be refused before its connections are ended. */
  readonly refusals: TokenBucket;
  /** Bytes that its messages have announced and not brought. */
  announced: number;
  /** Until when (monotonic milliseconds) none of its connections is taken. */
  blockedUntil: number;
}

// Refused calls cost, too. Who goes on and on in spite of RetryInfo is ended, and kept out for as long as this.
const blockMs = 10_000;
const refusalsPerBurst = 5;

/** Who is connected, by identity, with what counts for all of its connections together. */
export class Parties {
  readonly #limits: TrafficLimits;
  readonly #tokens: 'taken' | 'refused';
  readonly #calls: Record<Role, CallLimits>;
  readonly #rates: Record<Role, CallRate>;
  readonly #parties = new Map<string, Party>();

  /** @param tokens whether who has no certificate of ours may show a token */
  constructor(client: CallRate, limits: TrafficLimits, tokens: 'taken' | 'refused' = 'refused') {
    this.#tokens = tokens;
    this.#limits = limits;
    this.#rates = { client, gate: client, executor: limits.executor };
    const clients = new CallLimits(client);
    this.#calls = { client: clients, gate: clients, executor: new CallLimits(limits.executor) };
  }

  /** Takes a connection in; undefined where it must be ended, as there are too many or its party is blocked. */
  enter(session: ServerHttp2Session): Party | undefined {
    const party = this.#party(session);
    const now = performance.now();
    if (party.blockedUntil > now || party.sessions.size >= this.#limits.connections.perIdentity) return;
    party.sessions.add(session);
    session.on('close', () => {
      party.sessions.delete(session);
      if (this.#parties.size > this.#limits.connections.total) this.#forgetIdle();
    });
    return party;
  }

  /** Counts a refusal; gives the party's connections, all to be ended, where there were too many. */
  offended(party: Party): readonly ServerHttp2Session[] {
    const now = performance.now();
    if (party.refusals.take(now)) return [];
    party.blockedUntil = now + blockMs;
    return [...party.sessions];
  }

  #party(session: ServerHttp2Session): Party {
    const identity = readIdentity(session);
    const known = identity instanceof CscError ? undefined : identity;
    const mayShowToken =
      known === undefined && this.#tokens === 'taken' && presentedKeyOfSession(session) !== undefined;
    const kind = mayShowToken ? 'tokens of' : 'address';
    const name = known?.uri ?? `${kind} ${addressKey(session.socket.remoteAddress)}`;
    const party = this.#parties.get(name);
    if (party !== undefined) return party;
    const role = known?.role ?? 'client';
    const { requestsPerSec, burst } = this.#rates[role];
    const made: Party = {
      name,
      role,
      identity: () => {
        if (identity instanceof CscError) throw identity;
        return identity;
      },
      mayShowToken,
      sessions: new Set(),
      calls: this.#calls[role],
      refusals: new TokenBucket(requestsPerSec, refusalsPerBurst * burst, performance.now()),
      announced: 0,
      blockedUntil: 0,
    };
    this.#parties.set(name, made);
    return made;
  }

  #forgetIdle(): void {
    const now = performance.now();
    for (const [name, { sessions, blockedUntil, refusals }] of this.#parties) {
      if (sessions.size === 0 && blockedUntil < now && refusals.rested(now)) this.#parties.delete(name);
    }
  }
}

function readIdentity(session: ServerHttp2Session): Identity | CscError {
  try {
    return identityOfSession(session);
  } catch (error) {
    if (error instanceof CscError) return error;
    throw error;
  }
}
