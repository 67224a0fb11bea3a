import { CscError, guarded, isCscError } from '@csc-fleet/common/errors';
import type {
  FetchPolicyFileResponse,
  ProveOwnReceiptsRequest,
  ProveOwnReceiptsResponse,
} from '@csc-fleet/common/messages';
import type { RepositorySource } from '@csc-fleet/common/policy-repository';
import {
  type ConnectResponse,
  channelOptions,
  channelTo,
  ExecutorLinkClient,
  ExecutorLinkService,
  explainDrop,
  fromServiceError,
  readChannelCredentials,
  type TlsSource,
} from '@csc-fleet/common/rpc';
import type { Log } from '@csc-fleet/common/service';
import {
  type CallOptions,
  type ChannelOptions,
  type ClientUnaryCall,
  Metadata,
  type requestCallback,
  status,
} from '@grpc/grpc-js';
import type { OutputSink } from '../output/index.ts';
import { heartbeatMs } from './connection.ts';
import { createGrpcOutput } from './grpc-output.ts';
import { type Line, openLine } from './line.ts';
import { createLinkWriter, type LinkCall } from './link-writer.ts';
import type { Executor } from './linked-executor.ts';

/** Where the gate is, and who we are to it. */
export interface GateLinkOptions {
  /** `HOST:PORT`. */
  readonly address: string;
  readonly tls: TlsSource;
  readonly limits?: Partial<LinkLimits>;
}

/** What a gate that says nothing is waited for, in milliseconds; then its connection is given up for a new one. */
export interface LinkLimits {
  /** From TCP to HTTP/2's first word. */
  readonly silentMs: number;
  /** From dialling to Welcome. */
  readonly welcomeMs: number;
  /** To the first answer of an upload, and to a file of the policy repository. */
  readonly answerMs: number;
}

const usualLimits: LinkLimits = { silentMs: 20_000, welcomeMs: 30_000, answerMs: 20_000 };

/** The gRPC way to the gate. */
export interface GateLink {
  readonly output: OutputSink;
  /** The owners' policy repository, as the gate mirrors it. */
  readonly repository: RepositorySource;
  /** Undefined from a gate of a release that knows no such call. */
  prove(request: ProveOwnReceiptsRequest): Promise<ProveOwnReceiptsResponse | undefined>;
  /** Keeps the executor connected until `close`: after a failure again, and again. */
  run(executor: Executor, log: Log): void;
  /** Says hello once more, on a connection that takes the place of this one; what runs does not notice. */
  renew(): void;
  /** The same on connections that are new to TLS, of all that it has: what certificate there is now speaks for this host then. */
  redial(): void;
  close(): void;
}

// Each client has a connection of its own, so that control messages never queue behind output; and it comes back soon,
// as how long to wait is decided here.
const ownConnection = {
  ...channelOptions,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
};

// The largest offer: a contract of 1 MiB, its ticket, and as many approvals of 64 KiB as are taken.
const controlChannel = { ...ownConnection, 'grpc.max_receive_message_length': 6 * 1024 * 1024 };
// The gate says nothing there but a length.
const bulkChannel = { ...ownConnection, 'grpc.max_receive_message_length': 1024 };

// What a host takes of one file of the policy repository, and its envelope.
const filesChannel = { ...ownConnection, 'grpc.max_receive_message_length': 9 * 1024 * 1024 };

/** One call of a line of its own. Resolves to undefined where the gate is of a release that knows no such call. */
function ask<Response>(
  line: Line,
  answerMs: number,
  begin: (
    client: ExecutorLinkClient,
    options: CallOptions,
    answered: requestCallback<Response>,
  ) => ClientUnaryCall,
): Promise<Response | undefined> {
  const { client } = line;
  return new Promise((resolve, reject) => {
    const call = begin(client, { deadline: Date.now() + answerMs }, (error, response) => {
      if (error?.code === status.DEADLINE_EXCEEDED) line.giveUp(client);
      if (error?.code === status.UNIMPLEMENTED) resolve(undefined);
      else if (error !== null) reject(fromServiceError(error));
      else resolve(response);
    });
    line.track(call);
  });
}

async function fetchPolicyFile(line: Line, path: string, answerMs: number): Promise<Uint8Array | undefined> {
  const answer = await ask<FetchPolicyFileResponse>(line, answerMs, (client, options, answered) =>
    client.fetchPolicyFile({ path }, new Metadata(), options, answered),
  );
  if (answer === undefined) throw olderGate();
  return answer.found ? answer.content : undefined;
}

// Of 64 proofs, each of 63 hashes, their leaves and a checkpoint, twice.
const maxProofBytes = 768 * 1024;

function prove(
  line: Line,
  request: ProveOwnReceiptsRequest,
  answerMs: number,
): Promise<ProveOwnReceiptsResponse | undefined> {
  const { path, requestSerialize, responseDeserialize } = ExecutorLinkService.proveOwnReceipts;
  // Before it is unpacked: what takes two bytes of a message takes a hundred of memory.
  const decode = (bytes: Buffer): ProveOwnReceiptsResponse => {
    if (bytes.length <= maxProofBytes) return responseDeserialize(bytes);
    throw new CscError('MESSAGE_TOO_LARGE', `its proofs are ${bytes.length} bytes long`);
  };
  return ask(line, answerMs, (client, options, answered) =>
    client.makeUnaryRequest(path, requestSerialize, decode, request, new Metadata(), options, answered),
  );
}

function olderGate(): CscError {
  const message =
    'the gate is of a release that serves no policy repository: bring it up to date first, or name a folder in policy_repository.from';
  return new CscError('REPOSITORY_UNREACHABLE', message);
}

/** Opens the channels; nothing is dialled before `run`. Throws CONFIG_INVALID for a proxy that cannot be used. */
export function createGateLink({ address, tls, limits = {} }: GateLinkOptions): GateLink {
  const { silentMs, welcomeMs, answerMs } = { ...usualLimits, ...limits };
  const credentials = readChannelCredentials(tls, { role: 'gate', silentMs });
  const open = (options: ChannelOptions): Line => {
    const channel = channelTo(address, credentials, options);
    return openLine(() => new ExecutorLinkClient(channel.address, channel.credentials, channel.options));
  };
  const { unreachable, advice } = channelTo(address, credentials, controlChannel);
  const [control, bulk, files] = [open(controlChannel), open(bulkChannel), open(filesChannel)];
  const output = createGrpcOutput(bulk, { answerMs });
  const closing = new AbortController();
  let renew = (): void => {};
  return {
    output,
    prove: (request) => prove(files, request, answerMs),
    repository: { fetch: (path) => fetchPolicyFile(files, path, answerMs) },
    run: (executor, log) => {
      const tell = (error: unknown): string => {
        const told = toTold(error, tls);
        return told.code === 'GATE_UNREACHABLE' ? `${unreachable}: ${told.message}${advice}` : told.message;
      };
      renew = keepConnected(control, executor, closing.signal, { log, tell, welcomeMs });
    },
    renew: () => renew(),
    redial() {
      renew();
      for (const line of [control, bulk, files]) line.giveUp(line.client);
    },
    close() {
      closing.abort();
      control.close();
      bulk.close();
      files.close();
    },
  };
}

// A connection that lasted this long was a good one: the next attempt need not wait for long.
const goodMs = 5000;

// The gate ends its side once it has read all of ours; one that does not is not waited for.
const renewalMs = 2000;

interface ConnectionTerms extends Pick<LinkLimits, 'welcomeMs'> {
  readonly log: Log;
  /** Says what ended a connection. */
  readonly tell: (error: unknown) => string;
}

/** Returns what renews the connection. */
function keepConnected(
  line: Line,
  executor: Executor,
  closing: AbortSignal,
  { log, tell, welcomeMs }: ConnectionTerms,
): () => void {
  const backoff = createBackoff();
  let timer: NodeJS.Timeout | undefined;
  let current: LinkCall | undefined;
  let renewing = false;
  let welcomedAt: number;
  const lost = (error: unknown): void => {
    current = undefined;
    if (closing.aborted) return;
    if (renewing) {
      renewing = false;
      dial();
      return;
    }
    if (performance.now() - welcomedAt > goodMs) backoff.reset();
    const waitMs = Math.round(backoff.next());
    log.warn({ error: tell(error), waitMs }, 'no connection to the gate; trying again');
    timer = setTimeout(dial, waitMs);
  };
  const dial = (): void => {
    const { client } = line;
    const call = line.track(client.connect());
    current = call;
    welcomedAt = Number.POSITIVE_INFINITY;
    const welcomed = (): void => {
      welcomedAt = performance.now();
      log.info({}, 'connected to the gate');
    };
    try {
      serve(call, executor, welcomeMs, { silent: () => line.giveUp(client), welcomed, lost });
    } catch (error) {
      // This host cannot say Hello now: it would never try again.
      call.on('error', () => undefined).cancel();
      log.error({ error }, 'this host failed to say Hello to its gate');
      lost(error);
    }
  };
  closing.addEventListener('abort', () => clearTimeout(timer));
  dial();
  return () => {
    const call = current;
    // Where there is no connection, the next one begins with a hello anyway.
    if (call === undefined || renewing) return;
    renewing = true;
    call.end();
    setTimeout(() => call.cancel(), renewalMs).unref();
  };
}

interface CallEvents {
  welcomed(): void;
  /** The gate says nothing, and does not end the connection; before `lost`. */
  silent(): void;
  /** Called once. */
  lost(error: unknown): void;
}

// A gate that has not said anything for three heartbeats is gone, whatever TCP says.
const missedHeartbeats = 3;

function serve(call: LinkCall, executor: Executor, welcomeMs: number, events: CallEvents): void {
  const connection = executor.connect(
    createLinkWriter(call, () => connection.drained()),
    (error) => {
      end(error);
      call.cancel();
    },
  );
  // One or the other runs as long as the call is open, and keeps this process: gRPC does not keep it at every moment, and
  // where it does not, and nothing runs, Node would end with the call still to come.
  const watch = (silentMs: number, missed: string): NodeJS.Timeout =>
    setTimeout(() => {
      events.silent();
      end(new CscError('GATE_UNREACHABLE', `it ${missed} within ${silentMs / 1000} s`));
      call.cancel();
    }, silentMs);
  let watchdog = watch(welcomeMs, 'did not say welcome');
  let isWelcome = false;
  let over = false;
  const end = (error: unknown): void => {
    if (over) return;
    over = true;
    clearTimeout(watchdog);
    connection.closed();
    events.lost(error);
  };
  const take = (response: ConnectResponse): void => {
    if (over) return;
    if (isWelcome) watchdog.refresh();
    if (connection.isOpen && response.message?.$case === 'welcome') {
      clearTimeout(watchdog);
      const silentMs = missedHeartbeats * heartbeatMs(response.message.value.heartbeatInterval);
      watchdog = watch(silentMs, 'said nothing');
      isWelcome = true;
      events.welcomed();
    }
    connection.receive(response);
  };
  // A message that cannot be taken ends the connection; what runs goes on, and the next connection takes it up.
  const onData = guarded(take, (error) => {
    end(error);
    call.cancel();
  });
  call.on('data', onData);
  call.on('error', end);
  call.on('end', () =>
    end(new CscError('GATE_UNREACHABLE', 'it has ended the connection, as one does that stops')),
  );
}

function toTold(error: unknown, { material }: TlsSource): CscError {
  return explainDrop(isCscError(error) ? error : fromServiceError(error), material);
}

/** How long to wait before the next attempt. */
export interface Backoff {
  /** Milliseconds; grows with every call, with jitter, so that a fleet does not come back all at once. */
  next(): number;
  /** It worked: the next wait is a short one again. */
  reset(): void;
}

const firstMs = 250;
const longestMs = 10_000;

/** Exponential, between half and the whole of 250 ms, 500 ms, … 10 s. */
export function createBackoff(random: () => number = Math.random): Backoff {
  let ceiling = firstMs;
  return {
    next() {
      const wait = ceiling * (0.5 + random() / 2);
      ceiling = Math.min(2 * ceiling, longestMs);
      return wait;
    },
    reset() {
      ceiling = firstMs;
    },
  };
}
