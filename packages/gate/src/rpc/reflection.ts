import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  MethodDefinition,
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

const method = 'ServerReflectionInfo';
const paths = ['v1', 'v1alpha'].map((version) => `/grpc.reflection.${version}.ServerReflection/${method}`);

/**
 * Server reflection of the published API, so that generic clients such as grpcurl need no files. Nothing of it is made
 * before somebody asks: it is most of what starting a gate would take.
 */
export function addReflection(server: Server): void {
  for (const path of paths) {
    const definition = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: (value: unknown) => answering(path).definition.requestSerialize(value),
      requestDeserialize: (bytes: Buffer) => answering(path).definition.requestDeserialize(bytes),
      responseSerialize: (value: unknown) => answering(path).definition.responseSerialize(value),
      responseDeserialize: (bytes: Buffer) => answering(path).definition.responseDeserialize(bytes),
    };
    const answer = (call: ServerDuplexStream<unknown, unknown>): void => {
      // The service answers every question of 20 bytes with 20 KiB at once, read or not; it gives no other hold on its calls.
      readAsAnswered(call);
      Reflect.apply(answering(path).answer, undefined, [call]);
    };
    server.addService({ [method]: definition }, { [method]: answer });
  }
}

interface Answering {
  readonly definition: MethodDefinition<unknown, unknown>;
  readonly answer: UntypedHandleCall;
}

let made: ReadonlyMap<string, Answering> | undefined;

function answering(path: string): Answering {
  made ??= make();
  const found = made.get(path);
  if (found === undefined) throw new RangeError(`reflection does not serve ${path}`);
  return found;
}

function make(): ReadonlyMap<string, Answering> {
  const all = new Map<string, Answering>();
  const packages = loadSync(files, { includeDirs: roots });
  new ReflectionService(packages, { services: ['csc.gate.v1.Gate', 'csc.gate.v1.Fleet'] }).addToServer({
    addService(service: ServiceDefinition, methods: UntypedServiceImplementation) {
      const [definition, answer] = [service[method], methods[method]];
      if (definition !== undefined && answer !== undefined) all.set(definition.path, { definition, answer });
    },
  });
  return all;
}
