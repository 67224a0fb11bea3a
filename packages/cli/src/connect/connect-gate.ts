import { connect, type GateClient } from '@csc-fleet/client';
import { readKeyRing } from '@csc-fleet/common/crypto';
import { plainLine } from '../terminal/plain-text.ts';
import { note } from '../terminal/streams.ts';
import { type GateOptions, resolveGate } from './gate-options.ts';

// An outage takes many attempts, and is one piece of news.
const quietMs = 10_000;

/** A client of the gate that the command line names; says on stderr when it has to reconnect. */
export function connectGate(options: GateOptions): GateClient {
  let saidAt = Number.NEGATIVE_INFINITY;
  const { address, tls } = resolveGate(options, process.env);
  return connect({
    address,
    tls,
    keys: options.keys === undefined ? undefined : readKeyRing(options.keys),
    onReconnect: (error) => {
      if (performance.now() - saidAt < quietMs) return;
      saidAt = performance.now();
      note(plainLine(`csc: ${error.message}; trying again …`));
    },
  });
}
