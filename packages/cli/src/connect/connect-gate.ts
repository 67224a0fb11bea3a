import { connect, type ExecutorKey, type GateClient, type KnownExecutors } from '@csc-fleet/client';
import { createKeyRing, type KeyRing, readKeyRing } from '@csc-fleet/common/crypto';
import type { CscError } from '@csc-fleet/common/errors';
import { plainLine } from '../terminal/plain-text.ts';
import { note } from '../terminal/streams.ts';
import { type GateAddress, type GateOptions, resolveGate } from './gate-options.ts';
import { defaultKnownExecutorsFile, openKnownExecutors } from './known-executors-file.ts';

// An outage takes many attempts, and is one piece of news.
const quietMs = 10_000;

/** What of the command line matters beside who and where the gate is. */
export interface ConnectGateOptions extends GateOptions {
  readonly json?: true;
  readonly quiet?: true;
}

/** A client of the gate that the command line names; says on stderr when it has to reconnect. */
export function connectGate(options: ConnectGateOptions): GateClient {
  let saidAt = Number.NEGATIVE_INFINITY;
  const gate = resolveGate(options, process.env);
  const pinned = readPins(options.keys);
  return connect({
    ...gate,
    executorKeys: pinned,
    knownExecutors: pinned === undefined ? lazily(() => remember(gate, options)) : undefined,
    onReconnect: (error) => {
      if (performance.now() - saidAt < quietMs) return;
      saidAt = performance.now();
      note(plainLine(`csc: ${error.message}; trying again …`));
    },
  });
}

function readPins(files: readonly string[]): KeyRing | undefined {
  if (files.length === 0) return undefined;
  return createKeyRing(files.flatMap((file) => readKeyRing(file).entries()));
}

function remember({ tls }: GateAddress, options: ConnectGateOptions): KnownExecutors {
  const file = options.knownExecutors ?? defaultKnownExecutorsFile(tls.ca, process.env);
  const silent = options.json === true || options.quiet === true;
  return openKnownExecutors(file, {
    remembered: ({ owner, keyId }: ExecutorKey) => {
      if (silent) return;
      note(plainLine(`csc: first receipt of ${owner}: its key ${keyId} is remembered in ${file}`));
    },
    notRemembered: (error: CscError) => {
      if (!silent) note(plainLine(`csc: WARNING the executor's key is not remembered: ${error.message}`));
    },
  });
}

// Most commands never see a receipt: they need not know where keys are kept, nor that they cannot be.
function lazily(open: () => KnownExecutors): KnownExecutors {
  let opened: KnownExecutors | undefined;
  const known = (): KnownExecutors => {
    opened ??= open();
    return opened;
  };
  return {
    get place() {
      return known().place;
    },
    keysOf: (owner) => known().keysOf(owner),
    remember: (key) => known().remember(key),
  };
}
