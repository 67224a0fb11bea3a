import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Server } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

const files = ['csc/gate/v1/gate.proto'];

// The bundle carries a copy of proto/ beside it.
const roots = ['../../../../proto', './proto'].map((it) => join(dirname(fileURLToPath(import.meta.url)), it));

/** Server reflection of the published API, so that generic clients such as grpcurl need no files. */
export function addReflection(server: Server): void {
  const packages = loadSync(files, { includeDirs: roots });
  new ReflectionService(packages, { services: ['csc.gate.v1.Gate'] }).addToServer(server);
}
