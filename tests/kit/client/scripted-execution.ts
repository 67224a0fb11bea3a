import type { Signer } from '@csc-fleet/common/crypto';
import { canonicalJson, sha256Hex, sha256Tagged, toTimestamp } from '@csc-fleet/common/encoding';
import { signObject } from '@csc-fleet/common/evidence';
import {
  type Decision,
  type Execution,
  type ExecutionEvent,
  ExecutionState,
  OutputStream,
  type ReadOutputResponse,
  Verdict,
} from '@csc-fleet/common/messages';

/** What one execution of the scripted gate is made of. */
export interface Script {
  readonly contractSha256: string;
  /** When it ran. Default: now, and of a gate when it was made: a key's certificate is no older than its test. */
  readonly at?: Date;
  readonly verdict?: Verdict;
  readonly state?: ExecutionState;
  readonly stdout?: readonly string[];
  readonly stderr?: readonly string[];
  /** Members of the receipt that differ. */
  readonly receipt?: object;
  /** The receipt as the gate hands it on, in the place of the executor's. Empty: none. */
  readonly receiptJson?: Buffer | undefined;
  /** What the gate gives as the original of a v0.1 receipt. */
  readonly originalJson?: Buffer | undefined;
  /** What the owners have signed of it. Default: nothing. */
  readonly resolutionsJson?: readonly Buffer[];
  /** What the gate says of the end, where it lies. */
  readonly told?: Partial<Execution>;
  /** Output that the gate shows beside, or in the place of, the command's own. */
  readonly shown?: readonly ReadOutputResponse[];
  readonly receiptVersion?: 'csc.receipt.v0.1' | 'csc.receipt.v0.2';
  /** The hosts that the submission is to name, one after the other. Default: none. */
  readonly bindTo?: readonly string[];
  /** Its executor was LOST meanwhile, and came back. */
  readonly wasLost?: boolean;
}

export const executionId = 'exec-1';

export function scriptedExecution({ state, contractSha256, told }: Script): Execution {
  return {
    executionId,
    state: state ?? ExecutionState.SUCCEEDED,
    contractId: 'contract-1',
    contractSha256,
    policyProfile: 'tests',
    principal: 'spiffe://csc.local/client/alice',
    executorId: 'host-1',
    submittedAt: undefined,
    startedAt: undefined,
    endedAt: undefined,
    error: '',
    intent: 'a test',
    ...told,
  };
}

export function scriptedDecision({ verdict, contractSha256 }: Script): Decision {
  return {
    verdict: verdict ?? Verdict.ALLOW,
    reasonCodes: ['ALLOW'],
    reasons: ['fine'],
    findings: [],
    contractSha256,
    policySha256: 'b'.repeat(64),
    policyProfile: 'tests',
    expiresAt: undefined,
    decisionJson: Buffer.from('{}'),
  };
}

const beingLost: readonly ExecutionEvent['event'][] = [
  { $case: 'lost', value: { executorId: 'host-1', reason: 'away' } },
  { $case: 'returned', value: { executorId: 'host-1' } },
];

/** Decided, Started, Finished; Decided alone where it waits for an approval. */
export function scriptedEvents(script: Script, receiptJson: Buffer): ExecutionEvent[] {
  const all: ExecutionEvent['event'][] = [
    { $case: 'decided', value: { decision: scriptedDecision(script) } },
    ...(script.bindTo ?? []).map(
      (executorId) => ({ $case: 'bindingWanted', value: { executorId } }) as const,
    ),
    { $case: 'started', value: { executorId: 'host-1', notes: [] } },
    ...(script.wasLost === true ? beingLost : []),
    {
      $case: 'finished',
      value: {
        execution: scriptedExecution(script),
        receiptJson,
        originalJson: script.originalJson ?? Buffer.alloc(0),
        resolutionsJson: [...(script.resolutionsJson ?? [])],
      },
    },
  ];
  const shown = script.state === ExecutionState.AWAITING_APPROVAL ? all.slice(0, 1) : all;
  const { at = new Date() } = script;
  return shown.map((event, index) => ({ executionId, sequence: index + 1, at, event }));
}

/** The output of its one command, stdout first. */
export function scriptedOutput({ stdout = [], stderr = [], shown }: Script): ReadOutputResponse[] {
  return shown === undefined ? commandOutput(stdout, stderr) : [...shown];
}

function commandOutput(stdout: readonly string[], stderr: readonly string[]): ReadOutputResponse[] {
  return [...toChunks(OutputStream.STDOUT, stdout), ...toChunks(OutputStream.STDERR, stderr)];
}

function toChunks(stream: OutputStream, pieces: readonly string[]): ReadOutputResponse[] {
  let offset = 0;
  return pieces.map((piece) => {
    const value = { commandId: 'main', stream, offset, monotonicNs: 0, data: Buffer.from(piece) };
    offset += value.data.length;
    return { item: { $case: 'chunk', value } };
  });
}

export function scriptedReceipt(script: Script, signer: Signer): Buffer {
  if (script.receiptJson !== undefined) return script.receiptJson;
  const { contractSha256, receiptVersion = 'csc.receipt.v0.2', stdout = [], stderr = [] } = script;
  const { at = new Date() } = script;
  const hashes = { stdout_hash: sha256Tagged(stdout.join('')), stderr_hash: sha256Tagged(stderr.join('')) };
  const v01 = {
    receipt_version: receiptVersion,
    contract_id: 'contract-1',
    execution_id: executionId,
    contract_sha256: contractSha256,
    status: 'success',
    started_at: toTimestamp(at),
    ended_at: toTimestamp(at),
    policy_profile: 'tests',
    exit_code: 0,
    completed_command_ids: ['main'],
    ...hashes,
  };
  const bytes = { stdout_bytes: stdout.join('').length, stderr_bytes: stderr.join('').length };
  const command = {
    command_id: 'main',
    argv_sha256: sha256Hex(canonicalJson(['true'])),
    exit_code: 0,
    ended: 'exit',
  };
  const v02 = {
    commands: [{ ...command, ...hashes, ...bytes }],
    approvals: [],
    ended: 'exit',
    executor_id: 'host-1',
  };
  const whole = receiptVersion === 'csc.receipt.v0.2' ? { ...v01, ...v02 } : v01;
  return signObject({ ...whole, ...script.receipt }, signer, at);
}
