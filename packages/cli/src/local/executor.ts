import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKeyRing, type Signer } from '@csc-fleet/common/crypto';
import { makeDirectory } from '@csc-fleet/common/files';
import type { ConnectRequest, ConnectResponse } from '@csc-fleet/common/messages';
import { createPolicySet, type PolicyDocument } from '@csc-fleet/common/policy';
import { defaultCeiling } from '@csc-fleet/executor/ceiling';
import { createExecutor, type ExecutorDeps } from '@csc-fleet/executor/compose';
import type { Executor } from '@csc-fleet/executor/executor';
import type { LinkConnection } from '@csc-fleet/executor/link';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import type { LocalGate } from './gate.ts';

interface AttachOptions {
  readonly policy: PolicyDocument;
  /** Signs the receipts. */
  readonly signer: Signer;
  readonly mode: 'local' | 'hardened';
  /** Whether argv may carry code of its own (`sh -c …`). */
  readonly inlineCode: boolean;
  /** What hardened mode stands on, asked for early: it takes two processes. Absent in local mode. */
  readonly facts: Promise<HostFacts> | undefined;
  /** Holds the journal: which approvals are used up, what was started. */
  readonly stateDir: string;
  /** Absent: this process's own. */
  readonly env: Readonly<Record<string, string>> | undefined;
  readonly onNotice: ((message: string) => void) | undefined;
  /** How much output is kept, in bytes. Absent: as a host that says nothing. */
  readonly limits: { readonly stdoutBytes?: number; readonly stderrBytes?: number };
}

/** Whose key signs the receipts of what ran. */
export const executorIdentity = {
  uri: 'spiffe://csc.local/executor/csc-run',
  role: 'executor',
  name: 'csc-run',
  trustDomain: 'csc.local',
} as const;

/**
 * Puts an executor of this process beside its gate, linked as over the network; resolves once the gate has welcomed
 * it. Throws SANDBOX_UNAVAILABLE with what to do, STORE_UNAVAILABLE, FILE_UNWRITABLE.
 */
export async function attachExecutor(local: LocalGate, options: AttachOptions): Promise<Executor> {
  const { policy, signer, mode, facts, stateDir, inlineCode } = options;
  makeDirectory(stateDir, {
    mode: 0o700,
    as: `the state directory ${stateDir} (--state-dir takes another)`,
  });
  const policies = createPolicySet([policy]);
  const executor = await createExecutor(
    {
      executorId: executorIdentity.name,
      identity: executorIdentity.uri,
      stateDir,
      executionMode: mode,
      acceptUnsignedApprovals: true,
      dualControl: 'one_approval',
      ceiling: { ...defaultCeiling, inlineCode },
      env: options.env ?? definedOnly(process.env),
      limits: options.limits,
      once: true,
    },
    {
      gateKeys: createKeyRing([{ keyId: local.signer.keyId, publicKey: local.signer.publicKey }]),
      owners: { current: () => ({ policies }) },
      output: copying(local.gate.output),
      signer,
      ...(facts === undefined ? {} : { facts: await facts }),
    },
  );
  await link(local, executor, options);
  return executor;
}

// The executor uses the memory of what it sends again at once, and the gate reads it later: over a network it is sent by then.
function copying(output: LocalGate['gate']['output']): ExecutorDeps['output'] {
  return {
    committedLength: (executionId) => output.committedLength(executionId),
    append: (executionId, logOffset, frames) => output.append(executionId, logOffset, Buffer.from(frames)),
  };
}

function definedOnly(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Each side gets what the other sends; the gate is spared what only an earlier run's gate would know. */
async function link({ gate }: LocalGate, executor: Executor, options: AttachOptions): Promise<void> {
  const { promise: welcomed, resolve, reject } = Promise.withResolvers<void>();
  const offered = new Set<string>();
  const toExecutor = (response: ConnectResponse): void => {
    if (response.message?.$case === 'offer') offered.add(response.message.value.executionId);
    connection.receive(response);
    if (response.message?.$case === 'welcome') resolve();
  };
  const session = gate.link.open({
    executor: executorIdentity,
    send: toExecutor,
    hangUp: reject,
    isOurs: true,
  });
  const toGate = (request: ConnectRequest): void => {
    const { message } = request;
    if (message?.$case !== 'receipt' || offered.has(message.value.executionId)) session.receive(request);
    else keepReceipt(message.value, options, toExecutor);
  };
  // The gate answers in a later turn, never from within its `receive`.
  const connection: LinkConnection = executor.connect(toGate);
  await welcomed;
}

/** The receipt of a run that was cut off, which this run's executor has signed: nobody else waits for it any more. */
function keepReceipt(
  { executionId, receiptJson }: { executionId: string; receiptJson: Buffer },
  { stateDir, onNotice }: AttachOptions,
  toExecutor: (response: ConnectResponse) => void,
): void {
  const path = join(stateDir, `receipt-${executionId}.json`);
  writeFileSync(path, receiptJson, { mode: 0o600 });
  onNotice?.(`an earlier run was cut off; its receipt is ${path}`);
  toExecutor({ message: { $case: 'receiptAck', value: { executionId } } });
}
