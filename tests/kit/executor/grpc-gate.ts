import { join } from 'node:path';
import type { ProveOwnReceiptsRequest, ProveOwnReceiptsResponse } from '@csc-fleet/common/messages';
import type { RepositorySource } from '@csc-fleet/common/policy-repository';
import {
  type ConnectRequest,
  type ConnectResponse,
  type ExecutorLinkServer,
  ExecutorLinkService,
  type Identity,
  identityOfCall,
  type PushOutputRequest,
  type PushOutputResponse,
  readServerCredentials,
  serverOptions,
  toServiceError,
} from '@csc-fleet/common/rpc';
import { Server, type ServerDuplexStream } from '@grpc/grpc-js';
import { freePort } from '../free-port.ts';
import type { ScriptedGate } from './scripted-gate.ts';

/** A scripted gate behind real gRPC with mutual TLS. */
export interface GrpcGate {
  /** `HOST:PORT`; the same after `stop` and `start`. */
  readonly address: string;
  /** Who has dialled, in order. */
  readonly callers: Identity[];
  /** True unless a test wants a gate that has gone silent. */
  answersHeartbeats: boolean;
  /** What it serves of a policy repository, unchecked. Absent: nothing. */
  policyFiles?: RepositorySource;
  /** What it proves of receipts. Absent: nothing. */
  proofs?: (request: ProveOwnReceiptsRequest) => ProveOwnReceiptsResponse;
  /** True: as a gate of an earlier release, it knows no call for such files, nor for proofs. From the next `start` on. */
  isOlder?: boolean;
  start(): Promise<void>;
  /** Cuts every connection. */
  stop(): void;
  /** Ends its side of every link, as a gate that stops. */
  endLinks(): void;
}

const heartbeatInterval = { seconds: 0, nanos: 200_000_000 };

/** @param pki a directory of createDevelopmentPki */
export async function startGrpcGate(gate: ScriptedGate, pki: string): Promise<GrpcGate> {
  const tls = { ca: join(pki, 'ca.pem'), cert: join(pki, 'gate.pem'), key: join(pki, 'gate.key') };
  let server: Server | undefined;
  const address = `127.0.0.1:${await freePort()}`;
  const service: ExecutorLinkServer = {
    connect: (call) => {
      links.push(call);
      connect(gate, call, grpcGate);
    },
    pushOutput: (call) => void pushOutput(gate, call),
    fetchPolicyFile: ({ request }, answer) => {
      const fetched = grpcGate.policyFiles?.fetch(request.path) ?? Promise.resolve(undefined);
      fetched.then(
        (content) => answer(null, { found: content !== undefined, content: Buffer.from(content ?? []) }),
        (error: unknown) => answer(toServiceError(error)),
      );
    },
    proveOwnReceipts: ({ request }, answer) => {
      const none = { checkpoint: Buffer.alloc(0), consistency: [], proofs: [] };
      answer(null, grpcGate.proofs?.(request) ?? none);
    },
  };
  const start = async (): Promise<void> => {
    // Without channelz, grpc-js 1.14 does not know its sessions, and forceShutdown leaves them open.
    server = new Server({ ...serverOptions, 'grpc.enable_channelz': 1 });
    const { fetchPolicyFile: _, proveOwnReceipts: __, ...older } = service;
    server.addService(ExecutorLinkService, grpcGate.isOlder === true ? older : service);
    await bind(server, address, tls);
  };
  const links: ServerDuplexStream<ConnectRequest, ConnectResponse>[] = [];
  const grpcGate: GrpcGate = {
    address,
    callers: [],
    answersHeartbeats: true,
    start,
    stop: () => server?.forceShutdown(),
    endLinks: () => {
      for (const call of links.splice(0)) call.end();
    },
  };
  await start();
  return grpcGate;
}

function bind(
  server: Server,
  address: string,
  tls: Parameters<typeof readServerCredentials>[0],
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, readServerCredentials(tls), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

function connect(
  gate: ScriptedGate,
  call: ServerDuplexStream<ConnectRequest, ConnectResponse>,
  grpcGate: GrpcGate,
): void {
  grpcGate.callers.push(identityOfCall(call));
  call.on('error', () => {});
  call.on('data', (request: ConnectRequest) => {
    gate.receive(request);
    if (request.message?.$case === 'hello')
      gate.welcome((response) => call.write(response), heartbeatInterval);
    if (request.message?.$case === 'heartbeat' && grpcGate.answersHeartbeats)
      call.write({ message: { $case: 'heartbeatAck', value: {} } });
  });
}

async function pushOutput(
  gate: ScriptedGate,
  call: ServerDuplexStream<PushOutputRequest, PushOutputResponse>,
): Promise<void> {
  let executionId = '';
  try {
    for await (const { executionId: named, logOffset, frames } of call as AsyncIterable<PushOutputRequest>) {
      executionId ||= named;
      const committed =
        frames.length === 0
          ? await gate.output.committedLength(executionId)
          : await gate.output.append(executionId, logOffset, frames);
      call.write({ committedLength: committed });
    }
    call.end();
  } catch (error) {
    call.emit('error', toServiceError(error));
  }
}
