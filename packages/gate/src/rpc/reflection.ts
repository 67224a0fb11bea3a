import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  Server,
  ServerDuplexStream,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { readAsAnswered } from './reading.ts';

const files = ['csc/gate/v1/gate.proto'];

// The bundle carries a copy of proto/ beside it.
const roots = ['../../../../proto', './proto'].map((it) => join(dirname(fileURLToPath(import.meta.url)), it));

/** Server reflection of the published API, so that generic clients such as grpcurl need no files. */
export function addReflection(server: Server): void {
  const packages = loadSync(files, { includeDirs: roots });
  new ReflectionService(packages, { services: ['csc.gate.v1.Gate', 'csc.gate.v1.Fleet'] }).addToServer(
    boundedServer(server),
  );
}

// The service answers every question of 20 bytes with 20 KiB at once, read or not; it gives no other hold on its calls.
function boundedServer(server: Server): Server {
  const addService = (service: ServiceDefinition, methods: UntypedServiceImplementation) =>
    server.addService(
      service,
      Object.fromEntries(Object.entries(methods).map(([name, answer]) => [name, bounded(answer)])),
    );
  return Object.create(server, { addService: { value: addService } });
}

function bounded(answer: UntypedHandleCall): UntypedHandleCall {
  return (call: ServerDuplexStream<unknown, unknown>) => {
    readAsAnswered(call);
    Reflect.apply(answer, undefined, [call]);
  };
}
