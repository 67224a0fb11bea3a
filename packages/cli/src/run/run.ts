import type { CommandContract } from '@csc-fleet/common/contract';
import { evaluate } from '@csc-fleet/common/decision';
import { artifactBytes, canonicalBytes } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import type { SubmitRequest } from '@csc-fleet/common/messages';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import { readContractInput, readPolicyInput } from '../check/files.ts';
import { exitCodes } from '../exit-codes.ts';
import { type LocalGate, startLocalGate } from '../local/gate.ts';
import { readInput } from '../read-input.ts';
import { note } from '../terminal/streams.ts';
import { block } from './block.ts';
import { execute } from './execute.ts';
import type { LocalRun, RunCommandOptions } from './local-run.ts';
import { printSandbox } from './sandbox-debug.ts';
import { readSigning } from './signing.ts';

/** Decides, runs on this host and writes the receipt. Resolves to 0, 1 or 2 as protocol §8 has it. */
export async function runContract(
  contractPath: string,
  policyPath: string,
  options: RunCommandOptions,
): Promise<number> {
  const seal = await readSigning(options);
  const facts = options.mode === 'hardened' ? askEarly(options) : undefined;
  const contract = await readContractInput(contractPath);
  const policy = await readPolicyInput(policyPath);
  const request = await toRequest(contract, options);
  if (options.sandboxDebug === true) return printSandbox(contract, policy, facts);
  const local = await startLocalGate(policy);
  try {
    return await decideAndRun(local, { contract, policy, request, seal, facts, options });
  } finally {
    await local.close();
  }
}

// While the rest is read; where the contract is denied, nobody asks for the answer.
function askEarly({ acceptRlimitsOnly }: RunCommandOptions): Promise<HostFacts> {
  const facts = probeHost({ acceptRlimitsOnly: acceptRlimitsOnly ?? false });
  facts.catch(() => {});
  return facts;
}

async function decideAndRun(local: LocalGate, run: LocalRun): Promise<number> {
  // What the gate will find too: an executor is not needed for a no, and a host that cannot have one still gets it.
  const { verdict } = evaluate(run.contract, run.policy);
  if (verdict === 'needs_approval') warnOfDualControl(run.contract);
  const asks = verdict === 'needs_approval' && run.request.approvalsJson.length === 0;
  if (asks) return block(local, run, undefined, exitCodes.needsApproval);
  if (verdict === 'deny') return block(local, run, undefined, exitCodes.no);
  try {
    return await execute(local, run);
  } catch (error) {
    if (!isCscError(error, 'APPROVAL_INVALID')) throw error;
    return block(local, run, error, exitCodes.no);
  }
}

// As in the reference, whose gates and hosts there are none of: those refuse it unless their owners say otherwise.
function warnOfDualControl({ approval_mode: mode }: CommandContract): void {
  if (mode !== 'dual_control_required') return;
  note('csc: WARNING approval_mode is dual_control_required, and csc run takes one approval for it');
}

async function toRequest(contract: CommandContract, options: RunCommandOptions): Promise<SubmitRequest> {
  return {
    contract: { $case: 'contractJson', value: canonicalBytes(contract) },
    idempotencyKey: '',
    selector: {},
    policyProfile: '',
    approvalsJson: await Promise.all(options.approval.map((path) => readInput(path, artifactBytes.approval))),
    options: { receiptVersion: options.receiptVersion, queueTimeout: undefined },
  };
}
