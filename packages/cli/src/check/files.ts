import { type CommandContract, parseContract } from '@csc-fleet/common/contract';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { type PolicyDocument, parsePolicy } from '@csc-fleet/common/policy';
import { exitCodes } from '../exit-codes.ts';
import { inputName, readInput } from '../read-input.ts';
import { createPaint } from '../terminal/colour.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { decide } from './decide.ts';
import { describeDecision } from './describe.ts';

const exitCodeOfVerdict = {
  allow: exitCodes.ok,
  deny: exitCodes.no,
  needs_approval: exitCodes.needsApproval,
} as const;

/** Judges one contract by one policy and prints the decision. Resolves to the exit code of `csc check`. */
export async function checkFiles(contractPath: string, policyPath: string, json: boolean): Promise<number> {
  const { evaluation, document } = decide(
    await readContractInput(contractPath),
    await readPolicyInput(policyPath),
    new Date(),
  );
  if (json) await writeJson(document);
  else {
    const view = { ...evaluation, contractSha256: document.contract_sha256 };
    await writeOut(`${describeDecision(view, createPaint(process.stdout))}\n`);
  }
  return exitCodeOfVerdict[evaluation.verdict];
}

/** A contract file, or `-`. Throws FILE_UNREADABLE, or CONTRACT_INVALID with every fault. */
export async function readContractInput(path: string): Promise<CommandContract> {
  return orThrow(
    parseContract(await readInput(path, artifactBytes.contract)),
    'CONTRACT_INVALID',
    inputName(path),
  );
}

/** A policy file. Throws FILE_UNREADABLE, or POLICY_INVALID with every fault. */
export async function readPolicyInput(path: string): Promise<PolicyDocument> {
  return orThrow(
    parsePolicy(await readInput(path, artifactBytes.policy), path),
    'POLICY_INVALID',
    inputName(path),
  );
}
