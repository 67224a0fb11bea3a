import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { TokenBucket } from '@csc-fleet/common/doorway';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, guarded } from '@csc-fleet/common/errors';
import type {
  FetchPolicyFileRequest,
  FetchPolicyFileResponse,
  ProveOwnReceiptsRequest,
  ProveOwnReceiptsResponse,
} from '@csc-fleet/common/messages';
import {
  type ConnectRequest,
  type ConnectResponse,
  ExecutorLinkService,
  type Identity,
  labelsOfCall,
  type PushOutputRequest,
  type PushOutputResponse,
  pingPeer,
  validityOfCall,
  widenReceiveWindow,
} from '@csc-fleet/common/rpc';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { checkBounds, proveOwnBounds, pushOutputBounds } from '../bounds/index.ts';
import { policyFileBounds } from '../bounds/policy-file.ts';
import type { ExecutorConnection, Remote } from '../link/connection.ts';
import { duplex, unaryOfExecutor, undecoded } from './calls.ts';
import type { CallRules } from './interceptors.ts';
import type { DuplexCall, ExecutorCall, LinkMethods } from './methods.ts';
import { decodePushOutput } from './push-request.ts';
import { createPace, pace, Reading, readAsAnswered } from './reading.ts';

/** Where executors come in. */
export interface LinkDoor {
  /** One a connection, which must tell it when it is over. */
  open(remote: Remote): ExecutorConnection;
}

/** Where their output comes in. */
export interface OutputDoor {
  /** True where this executor may push output of this execution. */
  mayPush(executor: Identity, executionId: string): boolean;
  committedLength(executionId: string): Promise<number>;
  /** Appends whole frames; resolves to the log's new length. */
  append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number>;
  /** Keeps the log open until `gone` fires, so that many appends cost one opening. */
  hold(executionId: string, gone: AbortSignal): void;
}

/** Where the owners' policy repository lies, as it is published: whoever fetches it verifies it. */
export interface PolicyDoor {
  /** The bytes of `metadata/NAME` or `targets/NAME`; undefined where there is no such file. */
  fetch(path: string): Promise<Uint8Array | undefined>;
}

/** The log of receipts, for the hosts that have signed them. */
export interface ReceiptDoor {
  /** That receipts of this executor are in it; an empty checkpoint where there is none. */
  prove(executor: Identity, request: ProveOwnReceiptsRequest): Promise<ProveOwnReceiptsResponse>;
}

export interface LinkPorts {
  /** Absent: this gate has no policy repository, and every file of it is not there. */
  readonly policyFiles?: PolicyDoor;
  readonly link: LinkDoor;
  readonly receipts: ReceiptDoor;
  readonly output: OutputDoor;
  /** An executor that has said nothing for this long is gone. */
  readonly silenceMs: number;
}

/** csc.link.v1.ExecutorLink with messages that are not decoded. */
export const linkService: ServiceDefinition = undecoded(ExecutorLinkService);

/** The methods of csc.link.v1.ExecutorLink as gRPC calls them. */
export function serveLink(ports: LinkPorts, rules: CallRules): UntypedServiceImplementation {
  const methods = {
    connect: (call) => connect(ports, call),
    pushOutput: (call) => pushOutput(ports.output, call),
    fetchPolicyFile: createFetch(ports.policyFiles),
    proveOwnReceipts: createProve(ports.receipts),
  } satisfies LinkMethods;
  return {
    // It has no end of its own; the executor connects to the gate that comes back.
    connect: duplex(rules, ExecutorLinkService.connect, 'end', methods.connect),
    pushOutput: duplex(rules, { requestDeserialize: decodePushOutput }, 'drain', methods.pushOutput),
    fetchPolicyFile: unaryOfExecutor(
      { ...rules, maxMessageBytes: 1024 },
      ExecutorLinkService.fetchPolicyFile,
      methods.fetchPolicyFile,
    ),
    proveOwnReceipts: unaryOfExecutor(
      { ...rules, maxMessageBytes: 16 * 1024 },
      ExecutorLinkService.proveOwnReceipts,
      methods.proveOwnReceipts,
    ),
  };
}

// A host fetches a whole repository, of 64 MiB at most, when it pins another root, and a few files now and then.
const policyBytes = { perSec: 4 * 1024 * 1024, burst: 128 * 1024 * 1024 };

// Proofs of one executor, each of which is some reads of the disk; it asks for what has come up twice a minute.
const ownProofs = { perSec: 64, burst: 4096 };

/** What each executor may have so often, by its whole SPIFFE id. */
function createAllowances({ perSec, burst }: { readonly perSec: number; readonly burst: number }) {
  const allowances = new Map<string, TokenBucket>();
  return ({ uri }: Identity, tooOften: string): TokenBucket => {
    const allowance = allowances.get(uri) ?? new TokenBucket(perSec, burst, performance.now());
    allowances.set(uri, allowance);
    const retryAfterMs = allowance.waitMs(performance.now());
    if (retryAfterMs > 0) throw new CscError('RATE_LIMITED', tooOften, { retryAfterMs });
    return allowance;
  };
}

/** Throws REQUEST_INVALID, and RATE_LIMITED where one executor asks over and over. */
function createProve(
  receipts: ReceiptDoor,
): (call: ExecutorCall<ProveOwnReceiptsRequest>) => Promise<ProveOwnReceiptsResponse> {
  const allow = createAllowances(ownProofs);
  return async ({ executor, request }) => {
    checkBounds(proveOwnBounds, request);
    const allowance = allow(executor, 'this executor asks for proofs of its receipts too often');
    allowance.spend(1 + request.executionIds.length);
    return receipts.prove(executor, request);
  };
}

/** Throws REQUEST_INVALID, RATE_LIMITED where one executor fetches over and over, MESSAGE_TOO_LARGE. */
function createFetch(
  files: PolicyDoor | undefined,
): (call: ExecutorCall<FetchPolicyFileRequest>) => Promise<FetchPolicyFileResponse> {
  const allow = createAllowances(policyBytes);
  return async ({ executor, request }) => {
    checkBounds(policyFileBounds, request);
    const allowance = allow(executor, 'this executor fetches the policy repository too often');
    const content = await files?.fetch(request.path);
    if (content === undefined) return { found: false, content: Buffer.alloc(0) };
    if (content.length > artifactBytes.ownersFile)
      throw new CscError('MESSAGE_TOO_LARGE', `${request.path} is larger than a message may be`);
    allowance.spend(content.length);
    return { found: true, content: Buffer.from(content) };
  };
}

async function connect(
  { link, silenceMs }: Pick<LinkPorts, 'link' | 'silenceMs'>,
  { executor, stream, read, end, fail, gone }: DuplexCall<ConnectRequest, ConnectResponse>,
): Promise<void> {
  const send = (message: ConnectResponse): void => {
    if (!gone.aborted) stream.write(message);
  };
  const certificate = validityOfCall(stream);
  const labels = labelsOfCall(stream);
  const remote = { executor, certificate, labels, send, hangUp: fail };
  const connection = link.open({ ...remote, ask: () => pingPeer(stream) });
  // Not destroyed, which would not tell the executor.
  const silence = setTimeout(end, silenceMs);
  const reading = new Reading(stream);
  readAsAnswered(stream, reading);
  const paced = pace(reading);
  const take = (bytes: Buffer): void => {
    silence.refresh();
    paced(bytes.length);
    connection.receive(read(bytes));
  };
  stream.on('data', guarded(take, fail));
  stream.on('end', end);
  await new Promise<void>((resolve) => {
    gone.addEventListener('abort', () => {
      clearTimeout(silence);
      connection.closed();
      resolve();
    });
  });
}

async function pushOutput(
  output: OutputDoor,
  call: DuplexCall<PushOutputRequest, PushOutputResponse>,
): Promise<void> {
  try {
    await takeOutput(output, call);
  } catch (error) {
    // What fails once the call is over fails because of that.
    if (!call.gone.aborted) throw error;
  }
}

// Of what is brought, in bytes, while more of it waits: a quarter of what an executor sends ahead.
const tellEvery = 1024 * 1024;

// One message at a time: while one is written to disk the next waits in the transport's window.
async function takeOutput(
  output: OutputDoor,
  { executor, stream, read, gone }: DuplexCall<PushOutputRequest, PushOutputResponse>,
): Promise<void> {
  // Who does not read what is committed is not read from.
  const commit = async (committedLength: number): Promise<void> => {
    if (!stream.write({ committedLength })) await once(stream, 'drain', { signal: gone });
  };
  const paced = createPace();
  let executionId = '';
  let committed = 0;
  let told = 0;
  // Not destroyed by an error of ours, which would then not reach the executor.
  for await (const bytes of stream.iterator({ destroyOnReturn: false })) {
    const message = read(bytes);
    checkBounds(pushOutputBounds, message);
    const { executionId: named, logOffset, frames } = message;
    if (executionId === '') {
      if (!output.mayPush(executor, named))
        throw new CscError('EXECUTION_UNKNOWN', 'this executor does not have this execution');
      executionId = named;
      // Only now: a window is memory, and this is an executor that has something to send.
      widenReceiveWindow(stream);
      output.hold(executionId, gone);
      committed = await output.committedLength(executionId);
      told = committed;
      await commit(committed);
      if (frames.length === 0) continue;
    } else if (!output.mayPush(executor, executionId)) {
      throw new CscError('EXECUTION_UNKNOWN', 'this executor has this execution no more');
    }
    const before = committed;
    committed = await output.append(executionId, logOffset, frames);
    // What brings output is bounded by its ticket; what brings none could come for ever, as fast as it can be read.
    const waitMs = committed > before ? 0 : paced(bytes.length);
    if (waitMs > 0) await delay(waitMs, undefined, { signal: gone, ref: false });
    // The next answer says it as well, and where what comes next is refused, whoever sent it asks anew. One costs both
    // ends as much as 64 KiB of output.
    if (committed > before && stream.readableLength > 0 && committed - told < tellEvery) continue;
    told = committed;
    await commit(committed);
  }
}
