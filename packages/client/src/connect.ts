import type { KeyRing } from '@csc-fleet/common/crypto';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import {
  type ChannelCredentials,
  channelOptions,
  GateService,
  GateClient as GateStub,
  readChannelCredentials,
  type TlsFiles,
} from '@csc-fleet/common/rpc';
import { cancel, check, getExecution, listExecutions, submit } from './calls/calls.ts';
import type { GateClient } from './client.ts';
import { createConnection } from './connection/connection.ts';
import { follow, type RunContext, run } from './run/run.ts';
import { readOutput } from './stream/read.ts';
import { watch } from './stream/watch.ts';
import { getKeys, knownKeys, pinnedKeys } from './verify/keys.ts';
import { createKnownExecutors, type KnownExecutors } from './verify/known-executors.ts';
import { verifyFromSource } from './verify/verify-receipt.ts';

/** How to reach a gate and as whom. */
export type ConnectOptions = {
  /** `host:port`. */
  readonly address: string;
  /** The executors' receipt keys with their owners, pinned: no other key counts. Absent: trust on first use. */
  readonly executorKeys?: KeyRing | undefined;
  /** Without pins: the executors that were met before. Absent: those that this client meets. */
  readonly knownExecutors?: KnownExecutors | undefined;
  /** Milliseconds that one unary call may take. Absent: 30 seconds. */
  readonly callTimeoutMs?: number | undefined;
  /** Milliseconds without a sign of the gate after which a stream gives up. Absent: a minute; 0: at once. */
  readonly reconnectForMs?: number | undefined;
  /** Called before each wait for a gate that has gone away. */
  readonly onReconnect?: ((error: CscError, delayMs: number) => void) | undefined;
} & (
  | {
      /** Paths of PEM files: the CA that the gate must prove, and this client's certificate and key. */ readonly tls: TlsFiles;
    }
  | { readonly credentials: ChannelCredentials }
);

/**
 * A client of the gate at an address. Nothing is sent until the first call.
 *
 *     using csc = connect({ address: 'gate.example:7443', tls: { ca: 'ca.pem', cert: 'me.pem', key: 'me.key' } });
 *     const { decision, receipt, exitCode } = await csc.run(contract, {
 *       handlers: {
 *         onStdout: (data) => void process.stdout.write(data),
 *         onEvent: (event) => console.error(event.type),
 *       },
 *       selector: { arch: 'x86_64' },
 *       signal: AbortSignal.timeout(600_000),
 *     });
 *     console.error(decision?.reasonCodes, receipt?.status, exitCode); // the receipt has been verified
 *
 * Throws FILE_UNREADABLE or CONFIG_INVALID where the TLS files or the address cannot be used.
 */
export function connect(options: ConnectOptions): GateClient {
  const credentials = 'tls' in options ? readChannelCredentials(options.tls) : options.credentials;
  const client = openStub(options.address, credentials);
  const connection = createConnection(client, options.callTimeoutMs ?? 30_000);
  const reconnect = {
    giveUpAfterMs: options.reconnectForMs ?? 60_000,
    isUnconnected: connection.isUnconnected,
    onRetry: (error: CscError, delayMs: number) => options.onReconnect?.(error, delayMs),
  };
  const { executorKeys: pinned, knownExecutors: known = createKnownExecutors() } = options;
  const keys = pinned === undefined ? knownKeys(known, connection) : pinnedKeys(pinned, connection);
  return createClient({ connection, reconnect, keys });
}

function openStub(address: string, credentials: ChannelCredentials): GateStub {
  try {
    return new GateStub(address, credentials, channelOptions);
  } catch (cause) {
    const message = `the gate's address must be HOST:PORT, and is ${quoteBriefly(address)}`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

function createClient(context: RunContext): GateClient {
  const { connection, reconnect, keys } = context;
  return {
    run: (contract, options = {}) => run(context, contract, options),
    follow: (executionId, options = {}) => follow(context, executionId, options),
    submit: (contract, options = {}) => submit(connection, contract, options),
    check: (contract, options = {}) => check(connection, contract, options),
    watch: (executionId, options) => watch(connection, reconnect, executionId, options),
    readOutput: (executionId, options) => readOutput(connection, reconnect, executionId, options),
    cancel: (executionId, options = {}) => cancel(connection, executionId, options),
    getExecution: (executionId, options = {}) => getExecution(connection, executionId, options),
    list: (options = {}) => listExecutions(connection, options),
    getReceipt: async (executionId, { signal } = {}) => {
      const { receiptJson } = await connection.unary(GateService.getReceipt, { executionId }, signal);
      return { ...(await verifyFromSource(receiptJson, keys, { executionId }, signal)), receiptJson };
    },
    getKeys: (keyIds = [], options = {}) => getKeys(connection, keyIds, options.signal),
    close: connection.close,
    [Symbol.dispose]: connection.close,
  };
}
