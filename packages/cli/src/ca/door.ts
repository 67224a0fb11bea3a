import { type ConnectionLimits, Doorway } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';
import type { Log } from '@csc-fleet/common/service';
import type { Server, ServerCredentials } from '@grpc/grpc-js';

/** What those who connect to a CA may take, whoever they are: nobody of them is known yet. */
export interface DoorBounds {
  readonly connections: ConnectionLimits;
  /** After which a connection with no call is ended, in milliseconds. */
  readonly idleMs: number;
  /** After which any connection is ended, whatever is under way on it, and half as long again. */
  readonly ageMs: number;
}

/** Whoever joins or renews has said all of it within two seconds, on two connections. */
export const doorBounds: DoorBounds = {
  connections: {
    total: 512,
    perAddress: 32,
    silentPerAddress: 8,
    handshakesPerSec: 20,
    handshakeTimeoutSec: 10,
  },
  idleMs: 10_000,
  ageMs: 20_000,
};

/** Of a gRPC server behind such a door. */
export function doorOptions({ idleMs, ageMs }: DoorBounds) {
  return {
    'grpc.max_concurrent_streams': 4,
    'grpc.max_connection_idle_ms': idleMs,
    'grpc.max_connection_age_ms': ageMs,
    'grpc.max_connection_age_grace_ms': Math.ceil(ageMs / 2),
  };
}

export interface Door {
  readonly port: number;
  /** Takes no more, and cuts off what is open after so long. */
  close(graceMs: number): void;
}

const sayEveryMs = 10_000;

/** Opens the door to a gRPC server. Throws CONFIG_INVALID where it cannot listen there. */
export async function openDoor(
  server: Server,
  credentials: ServerCredentials,
  listen: string,
  { connections }: DoorBounds,
  log: Log,
): Promise<Door> {
  const injector = server.createConnectionInjector(credentials);
  const doorway = new Doorway(
    connections,
    (socket) => injector.injectConnection(socket),
    sayer(log, () => performance.now()),
  );
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  try {
    const port = await doorway.listen(host, Number(listen.slice(at + 1)));
    return {
      port,
      close: (graceMs) => {
        doorway.close();
        injector.drain(graceMs);
      },
    };
  } catch (cause) {
    doorway.close();
    throw new CscError('CONFIG_INVALID', `cannot listen on ${listen}: is something else there?`, { cause });
  }
}

// A line each ten seconds, however many there are: a flood of connections is none of lines.
function sayer(log: Log, now: () => number): (address: string, why: string) => void {
  let said = Number.NEGATIVE_INFINITY;
  let unsaid = 0;
  return (address, why) => {
    if (now() - said < sayEveryMs) {
      unsaid += 1;
      return;
    }
    log.warn({ address, why, ...(unsaid === 0 ? {} : { others: unsaid }) }, 'a connection was not let in');
    said = now();
    unsaid = 0;
  };
}
