import { randomBytes } from 'node:crypto';
import { type ContractInput, prepareSubmit } from '@csc-fleet/client/offline';
import { createSigner } from '@csc-fleet/common/crypto';
import { evaluate } from '@csc-fleet/common/decision';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import { defaultStateDir } from '@csc-fleet/common/files';
import { type PolicyDocument, parsePolicy } from '@csc-fleet/common/policy';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import { execute, throwIfAborted } from './execute.ts';
import { type LocalGate, startLocalGate } from './gate.ts';
import type { LocalRun, LocalRunResult, RunContractOptions, Withheld } from './local-run.ts';
import { probeOwnHost } from './probe-own-host.ts';
import { withhold } from './withhold.ts';

/**
 * Decides on a contract and, where the policy allows it, runs it on this host: gate and executor in this process,
 * ticket and all, without a network. `csc run` is this call. A denial is a result, not an error.
 *
 *     const { receipt, exitCode, withheld } = await runContract(contract, { policy: readFileSync('policy.yaml') });
 *
 * @param contract an object, or its JSON text
 * @returns once the run has ended and its receipt is verified: signature, contract, version, every command, and the
 *   hashes of the output that came
 * @throws CscError alone: CONTRACT_INVALID or POLICY_INVALID with every fault, SANDBOX_UNAVAILABLE with what to do,
 *   STORE_UNAVAILABLE or FILE_UNWRITABLE for the state directory, CANCELLED, RECEIPT_INVALID, INTERNAL
 */
export async function runContract(
  contract: ContractInput,
  options: RunContractOptions,
): Promise<LocalRunResult> {
  try {
    return await decideAndRun(toLocalRun(contract, options));
  } catch (error) {
    if (isCscError(error)) throw error;
    throw new CscError('INTERNAL', 'csc itself or a handler has failed; the cause says how', {
      cause: error,
    });
  }
}

function toLocalRun(input: ContractInput, options: RunContractOptions): LocalRun {
  const { approvals, receiptVersion = 'csc.receipt.v0.2', mode = 'hardened', stateDir } = options;
  return {
    ...prepareSubmit(input, { approvals, receiptVersion }),
    policy: toPolicy(options.policy),
    receiptVersion,
    signer: options.signer ?? createSigner(randomBytes(32), 'unsigned'),
    mode,
    stateDir: stateDir ?? defaultStateDir(process.env),
    options,
  };
}

function toPolicy(policy: PolicyDocument | string | Uint8Array): PolicyDocument {
  if (typeof policy !== 'string' && !(policy instanceof Uint8Array)) return policy;
  return orThrow(parsePolicy(Buffer.from(policy)), 'POLICY_INVALID', 'the policy');
}

async function decideAndRun(run: LocalRun): Promise<LocalRunResult> {
  throwIfAborted(run.options.signal);
  const reason = whyWithheld(run);
  const facts = reason === undefined ? askHost(run) : undefined;
  const local = await startLocalGate(run.policy);
  try {
    return reason === undefined
      ? await executeOrWithhold(local, run, facts)
      : await withhold(local, run, { reason, error: undefined });
  } finally {
    await local.close();
  }
}

/** What the gate will find too: no executor is needed for a no, and a host that cannot have one still gets it. */
function whyWithheld({ contract, policy, request, options }: LocalRun): Withheld['reason'] | undefined {
  const { verdict } = evaluate(contract, policy);
  // As in the reference, whose gates and hosts there are none of: those refuse it unless their owners say otherwise.
  if (verdict === 'needs_approval' && contract.approval_mode === 'dual_control_required') {
    options.onNotice?.(
      'WARNING approval_mode is dual_control_required, and csc run takes one approval for it',
    );
  }
  if (verdict === 'deny') return 'denied';
  return verdict === 'needs_approval' && request.approvalsJson.length === 0 ? 'needs_approval' : undefined;
}

// While the gate opens: it takes two processes.
function askHost({ mode, options }: LocalRun): Promise<HostFacts> | undefined {
  if (mode === 'local') return undefined;
  const { acceptRlimitsOnly = false, host = probeOwnHost(acceptRlimitsOnly) } = options;
  const facts = Promise.resolve(host);
  facts.catch(() => {});
  return facts;
}

async function executeOrWithhold(
  local: LocalGate,
  run: LocalRun,
  facts: Promise<HostFacts> | undefined,
): Promise<LocalRunResult> {
  try {
    return await execute(local, run, facts);
  } catch (error) {
    if (!isCscError(error, 'APPROVAL_INVALID')) throw error;
    return withhold(local, run, { reason: 'approval_invalid', error });
  }
}
