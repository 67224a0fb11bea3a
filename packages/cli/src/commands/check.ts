import '../action/started-once.ts';
import { contractSha256 } from '@csc-fleet/common/contract';
import type { AskedBeside, HostRules } from '@csc-fleet/common/decision';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { decideBatch } from '../check/batch.ts';
import { decide, exitCodeOfVerdict, readContractInput, readPolicyInput } from '../check/decide.ts';
import { addGateOptions, addTokenOptions, type GateOptions, namesGate } from '../connect/gate-options.ts';
import { openInput } from '../files/read-input.ts';
import { describeDecision } from '../show/decision.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { paintFor, plainLine } from '../terminal/text.ts';

interface Options extends GateOptions {
  readonly json?: true;
  readonly batch?: string;
  readonly allowInlineCode?: true;
  readonly profile?: string;
  readonly tty?: true;
}

const help = `
Exit codes: 0 allowed, 2 an approval is needed, 1 denied or not readable.

Examples:
  $ csc check contract.json policy.yaml
  $ csc check --json contract.json policy.yaml | jq .reason_codes
  $ csc check --batch pairs.jsonl > decisions.jsonl
  $ csc check contract.json --gate gate.example:7443 --pki pki --as alice     what would the gate decide?

Without a policy, the gate is asked (--gate or CSC_GATE): by the first profile that is bound to you, or by --profile.
Nothing is recorded there. What hosts have a say in beside it, secrets and inline code, is told on stderr.

What hosts refuse in the words of commands (inline code, programs in wrappers that the policy does not name) is denied
here too under a v0.2 policy. Under a v0.1 policy the decision is the protocol's, and what a host would refuse is told on
stderr beside it (host_findings with --json).

--batch reads one {"contract": {…}, "policy": {…}} a line (a policy that is a string is YAML text) and writes one
PolicyDecision a line, or {"error": …} for a line that cannot be read. It ends with 0 once every line has an answer.
`;

export function defineCheck(command: Command): void {
  command
    .description('Say what a policy decides of a contract, with every reason. Nothing is run.')
    .argument('[contract]', 'contract, JSON; - is standard input')
    .argument('[policy]', 'policy profile, YAML; without it the gate is asked')
    .option('--json', 'print the PolicyDecision with its hashes and findings')
    .option(
      '--allow-inline-code',
      'as for a host whose owner lets inline code in (sh -c, python3 -c, pipes into shells)',
    )
    .option('--profile <name>', 'with a gate: which of the profiles bound to you decides')
    .option('--tty', 'as csc submit --tty asks for it: on a terminal')
    .option('--batch <file>', 'judge many: JSON lines from a file, or - for standard input')
    .addHelpText('after', help);
  addTokenOptions(addGateOptions(command));
  act<[string | undefined, string | undefined, Options]>(command, async (contract, policy, options) => {
    const host = { inlineCode: options.allowInlineCode === true };
    if (options.batch !== undefined && options.tty === true)
      command.error('error: --batch asks for no terminal: leave --tty out');
    if (options.batch !== undefined) return batch(command, options.batch, contract, host);
    if (contract !== undefined && policy === undefined && namesGate(options, process.env)) {
      // Loaded here only: a check of two files need not wait for gRPC.
      const { askGate } = await import('../check/ask-gate.ts');
      const { json = false, profile } = options;
      return askGate(contract, options, { json, profile, ...askedBy(options) });
    }
    if (contract === undefined || policy === undefined) {
      command.error('error: a contract and a policy are needed (or a gate, with --gate; or --batch)');
      return 1;
    }
    return checkFiles(contract, policy, options.json ?? false, host, askedBy(options));
  });
}

const askedBy = ({ tty }: Options): AskedBeside => ({ terminal: tty === true });

async function batch(
  command: Command,
  file: string,
  extra: string | undefined,
  host: HostRules,
): Promise<number> {
  if (extra !== undefined) command.error('error: --batch takes its contracts and policies from its lines');
  await decideBatch(openInput(file), writeOut, host);
  return 0;
}

/** Judges one contract by one policy and prints the decision. Resolves to the exit code of `csc check`. */
async function checkFiles(
  contractPath: string,
  policyPath: string,
  json: boolean,
  host: HostRules,
  asked: AskedBeside,
): Promise<number> {
  const contract = await readContractInput(contractPath);
  const { evaluation, refusals, document } = decide(
    contract,
    await readPolicyInput(policyPath),
    new Date(),
    host,
    asked,
  );
  if (json) await writeJson(document());
  else {
    const view = {
      ...evaluation,
      get contractSha256() {
        return contractSha256(contract);
      },
    };
    await writeOut(`${describeDecision(view, paintFor(1))}\n`);
    for (const { member, message } of refusals)
      note(`csc: hosts refuse it, unless their owners change that: ${member}: ${plainLine(message)}`);
  }
  return exitCodeOfVerdict[evaluation.verdict];
}
