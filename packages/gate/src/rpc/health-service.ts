import type {
  Server,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
} from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { service as definition } from 'grpc-health-check';

/** What there is to know of a gate before it is asked to do anything. */
export interface GateHealth {
  /** Whether it takes writes now: without, nothing new is recorded, and what is recorded can be read. */
  readonly storeWritable: boolean;
  /** Whether there is an executor that takes offers, and nobody has frozen the fleet: else what is submitted waits. */
  readonly placing: boolean;
}

/**
 * The names of grpc.health.v1, with what each says. Reads, executors and what makes room go on without writes, so that only
 * who submits is sent elsewhere; that nothing can be placed now is no fault of the gate's, and has a name of its own.
 */
const services: Readonly<Record<string, (health: GateHealth) => boolean>> = {
  '': ({ storeWritable }) => storeWritable,
  'csc.gate.v1.Gate': ({ storeWritable }) => storeWritable,
  'csc.gate.v1.Gate/placement': ({ storeWritable, placing }) => storeWritable && placing,
  'csc.gate.v1.Fleet': () => true,
  'csc.link.v1.ExecutorLink': () => true,
};

type Status = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';
interface Asked {
  readonly service: string;
}
interface Told {
  readonly status: Status;
}
type Watching = ServerWritableStream<Asked, Told>;

// A watcher is told of what has changed, and what it has missed meanwhile it need not know.
const lookMs = 500;
const mostUnread = 4;

/** grpc.health.v1 of a gate, asked anew for every answer, and once for all who watch: they cost no memory of names either. */
export class HealthService {
  readonly #health: () => GateHealth;
  readonly #told = new Map<Watching, Status>();
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(health: () => GateHealth) {
    this.#health = health;
  }

  addTo(server: Server): void {
    server.addService(definition as ServiceDefinition, {
      check: (call: ServerUnaryCall<Asked, Told>, answer: sendUnaryData<Told>) => {
        const found = this.#statusOf(call.request.service);
        if (found === 'SERVICE_UNKNOWN')
          answer({ code: status.NOT_FOUND, details: 'there is no service of that name here' });
        else answer(null, { status: found });
      },
      list: (_call: unknown, answer: sendUnaryData<{ statuses: Record<string, Told> }>) =>
        answer(null, {
          statuses: Object.fromEntries(
            Object.keys(services).map((name) => [name, { status: this.#statusOf(name) }]),
          ),
        }),
      watch: (call: Watching) => this.#watch(call),
    });
  }

  /** From now on nothing is served; who watches is told so, and let go. */
  stop(): void {
    this.#stopping = true;
    const health = this.#health();
    for (const call of this.#told.keys()) {
      this.#tell(call, health);
      call.end();
      this.#forget(call);
    }
  }

  #statusOf(service: string, health = this.#health()): Status {
    const isServing = Object.hasOwn(services, service) ? services[service] : undefined;
    if (isServing === undefined) return 'SERVICE_UNKNOWN';
    return !this.#stopping && isServing(health) ? 'SERVING' : 'NOT_SERVING';
  }

  #watch(call: Watching): void {
    call.on('cancelled', () => this.#forget(call));
    call.on('error', () => this.#forget(call));
    this.#tell(call, this.#health());
    if (this.#stopping) {
      call.end();
      return;
    }
    this.#timer ??= setInterval(() => {
      const health = this.#health();
      for (const it of this.#told.keys()) this.#tell(it, health);
    }, lookMs).unref();
  }

  #tell(call: Watching, health: GateHealth): void {
    const now = this.#statusOf(call.request.service, health);
    if (this.#told.get(call) === now || call.writableLength > mostUnread) return;
    this.#told.set(call, now);
    call.write({ status: now });
  }

  #forget(call: Watching): void {
    this.#told.delete(call);
    if (this.#told.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
