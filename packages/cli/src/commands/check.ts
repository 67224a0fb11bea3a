import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { decideBatch } from '../check/batch.ts';
import { decide, readContractInput, readPolicyInput } from '../check/decide.ts';
import { openInput } from '../files/read-input.ts';
import { describeDecision } from '../show/decision.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint } from '../terminal/text.ts';

interface Options {
  readonly json?: true;
  readonly batch?: string;
}

const help = `
Exit codes: 0 allowed, 2 an approval is needed, 1 denied or not readable.

Examples:
  $ csc check contract.json policy.yaml
  $ csc check --json contract.json policy.yaml | jq .reason_codes
  $ csc check --batch pairs.jsonl > decisions.jsonl

--batch reads one {"contract": {…}, "policy": {…}} a line (a policy that is a string is YAML text) and writes one
PolicyDecision a line, or {"error": …} for a line that cannot be read. It ends with 0 once every line has an answer.
`;

export function defineCheck(command: Command): void {
  command
    .description('Say what a policy decides of a contract, with every reason. Nothing is run.')
    .argument('[contract]', 'contract, JSON; - is standard input')
    .argument('[policy]', 'policy profile, YAML')
    .option('--json', 'print the PolicyDecision with its hashes and findings')
    .option('--batch <file>', 'judge many: JSON lines from a file, or - for standard input')
    .addHelpText('after', help);
  act<[string | undefined, string | undefined, Options]>(command, async (contract, policy, options) => {
    if (options.batch !== undefined) return batch(command, options.batch, contract);
    if (contract === undefined || policy === undefined) {
      command.error('error: a contract and a policy are needed (or --batch)');
      return 1;
    }
    return checkFiles(contract, policy, options.json ?? false);
  });
}

async function batch(command: Command, file: string, extra: string | undefined): Promise<number> {
  if (extra !== undefined) command.error('error: --batch takes its contracts and policies from its lines');
  await decideBatch(openInput(file), writeOut);
  return 0;
}

const exitCodeOfVerdict = {
  allow: exitCodes.ok,
  deny: exitCodes.no,
  needs_approval: exitCodes.needsApproval,
} as const;

/** Judges one contract by one policy and prints the decision. Resolves to the exit code of `csc check`. */
async function checkFiles(contractPath: string, policyPath: string, json: boolean): Promise<number> {
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
