import { createServer, type IncomingMessage, type Server } from 'node:http';
import { maxAddCheckpointBytes } from '@csc-fleet/common/tlog';
import type { Witness, WitnessAnswer } from './witness.ts';

type Answer = Omit<WitnessAnswer, 'status'> & { readonly status: number };

const limits = {
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 60_000,
  maxHeaderSize: 8192,
};
const mostConnections = 256;

/**
 * The HTTP around a witness: POST /add-checkpoint.
 * @param onError told of what is a fault here: the caller hears no more than that there was one
 */
export function createWitnessServer(witness: Witness, onError: (error: unknown) => void): Server {
  const server = createServer(limits, (request, response) => {
    answer(witness, request)
      .catch((error: unknown): Answer => {
        onError(error);
        return plain(500, 'this witness has a fault of its own, and signs nothing');
      })
      .then(({ status, type, body }) => {
        // What was not read is not waited for.
        if (!request.complete) response.setHeader('Connection', 'close');
        response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
        response.end(body);
      })
      .catch(onError);
  });
  server.maxConnections = mostConnections;
  return server;
}

async function answer(witness: Witness, request: IncomingMessage): Promise<Answer> {
  if (request.url !== '/add-checkpoint') return plain(404, 'there is /add-checkpoint alone');
  if (request.method !== 'POST') return plain(405, 'add-checkpoint is a POST');
  const body = await readBody(request);
  return body === undefined ? plain(413, 'it is too long') : witness.addCheckpoint(body);
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    if (!Buffer.isBuffer(part)) continue;
    length += part.length;
    if (length > maxAddCheckpointBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function plain(status: number, message: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${message}\n` };
}
