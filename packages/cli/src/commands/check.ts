import type { Command } from 'commander';
import { act } from '../action.ts';
import { checkBatch } from '../check/batch.ts';
import { checkFiles } from '../check/files.ts';
import { openInput } from '../read-input.ts';
import { writeOut } from '../terminal/streams.ts';

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
  await checkBatch(openInput(file), writeOut);
  return 0;
}
