import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { parseDuration } from '../action/options.ts';
import { addReviewOptions, reviewHelp } from '../approve/options.ts';
import { type ReviewOptions, reviewExecution, tellReview } from '../approve/review.ts';
import { decide, readContractInput, readPolicyInput } from '../check/decide.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { addGateOptions, gateOptionsHelp, namesGate } from '../connect/gate-options.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { describeContract } from '../show/contract.ts';
import { type DecisionView, describeFindings, groupsAsked } from '../show/decision.ts';
import { toDecisionView } from '../show/outcome.ts';
import { ask, canAsk } from '../terminal/ask.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `
EXECUTION (its id, or four or more of its first characters) waits at the gate: a signed approval (csc.approval.v0.2) is
made and handed in.
${reviewHelp}
CONTRACT, a file (./NAME where its name looks like an id): writes an approval that nobody signs.
Shows the whole contract with every invisible character made visible, its hash, and what a policy finds: of the POLICY
file, or else of the gate that the options name. Then it asks, and writes an approval (csc.approval.v0.1) for exactly
this contract. The submitter hands it in with csc submit --approval FILE.

It counts only where the owners of gate and host have said so. Without a terminal, --contract-sha256 must say the hash of
what was read.
${gateOptionsHelp}
Examples:
  $ csc approve 3f2a91c0 --gate gate.example:7443 --pki pki --as bob --approver-key agent
  $ csc approve 3f2a91c0 --owners fleet-policy --group sre --expires 30m --ticket CHG-1234
  $ csc approve 3f2a91c0 --scope time_window --any-submission --expires 8h --out approval.json
  $ csc approve contract.json policy.yaml
  $ csc approve contract.json --gate gate.example:7443 --pki pki --as bob --ticket CHG-1234 --out chg-1234.json
`;

interface ApproveOptions extends ReviewOptions {
  readonly identity?: string;
  /** Milliseconds. */
  readonly expiresIn?: number;
  readonly timeWindow?: true;
  readonly contractSha256?: string;
}

const hourMs = 3_600_000;

export function defineApprove(command: Command): void {
  command
    .description('Read something in full and agree to it: an execution that waits, or a contract file.')
    .argument('<execution-or-contract>', 'what waits at the gate, or a contract, JSON')
    .argument('[policy]', 'of a contract file: policy profile, YAML; without it the gate is asked')
    .option('--ticket <id>', 'the change request or issue that it belongs to')
    .option('--reason <text>', 'why you agree')
    .addOption(
      command
        .createOption('--scope <scope>', 'used up by one execution, or good for all until it expires')
        .choices(['single_execution', 'time_window'])
        .default('single_execution'),
    )
    .option(
      '--any-submission',
      'of every submission that this principal makes of the contract until it expires',
    )
    .option(
      '--out <file>',
      'where to write the approval, for csc submit --approval: of a contract file (default: ./approval.json), or of what waits, with --scope time_window --any-submission',
    )
    .option('--identity <who>', 'of a contract file: who you are (default: your user name)')
    .option('--expires-in <time>', 'of a contract file: how long it is good for (default: 1h)', parseDuration)
    .option('--time-window', 'of a contract file: good for any number of executions until it expires')
    .option('--contract-sha256 <hex>', 'of a contract file: do not ask; agree only to this hash');
  addReviewOptions(addGateOptions(command)).addHelpText('after', help);
  act<[string, string | undefined, ApproveOptions]>(command, (what, policyPath, options) =>
    isExecutionId(what)
      ? approveExecution(what, options)
      : approveContract(fileNamed(what), policyPath, options),
  );
}

// What looks like an id is never taken for a file, which somebody may have laid there.
const isExecutionId = (what: string): boolean => /^[0-9a-f][0-9a-f-]{3,35}$/i.test(what);

// Whoever means an execution by too little of its id has no file of that name.
function fileNamed(what: string): string {
  if (what === '-' || what.includes('/') || existsSync(what)) return what;
  throw new CscError(
    'FILE_UNREADABLE',
    `there is no file ${what}, and it is no execution either: give its id, or four or more of its first characters (csc approvals shows them)`,
  );
}

/** Resolves to 0 where the approval was handed in, and to 1 where nobody agreed. */
async function approveExecution(named: string, options: ApproveOptions): Promise<number> {
  using client = connectGate(options);
  const reviewed = await reviewExecution(client, named, 'approve', options);
  if (reviewed === undefined) return exitCodes.no;
  tellReview(reviewed, 'approve');
  return exitCodes.ok;
}

/** Resolves to 0 where the approval was written, and to 1 where nobody agreed or nothing is to be agreed to. */
async function approveContract(
  contractPath: string,
  policyPath: string | undefined,
  options: ApproveOptions,
): Promise<number> {
  const contract = await readContractInput(contractPath);
  const view = await findings(contract, policyPath, options);
  const paint = createPaint(process.stdout);
  const shown = view === undefined ? unjudged : describeFindings(view, paint);
  await writeOut(`${describeContract(contract, paint, process.stdout.columns ?? 0)}\n\n${shown}\n`);
  if (view !== undefined && view.verdict !== 'needs_approval') {
    const why = view.verdict === 'deny' ? 'it is denied, whoever agrees' : 'it needs none';
    note(`csc: no approval was written: ${why}`);
    return exitCodes.no;
  }
  if (view !== undefined && groupsAsked(view) !== undefined)
    note(
      'csc: WARNING this policy asks groups: an unsigned v0.1 approval does not count for it; run csc approve ID of what waits (csc approvals)',
    );
  const identity = options.identity ?? userInfo().username;
  if (identity === contract.actor.initiating_user)
    note(plainLine(`csc: WARNING ${identity} is whom this contract was made for: have somebody else agree`));
  if (!(await agrees(contract, identity, options))) {
    note('csc: no approval was written');
    return exitCodes.no;
  }
  const { out = './approval.json' } = options;
  writeFileWhole(out, `${JSON.stringify(toApproval(contract, identity, options), null, 2)}\n`, 0o600);
  note(plainLine(`csc: approved as ${identity}, in ${out}: csc submit --approval ${out}`));
  return exitCodes.ok;
}

const unjudged = 'No policy was asked: name a POLICY file or a gate to see what it finds.';

async function findings(
  contract: CommandContract,
  policyPath: string | undefined,
  options: ApproveOptions,
): Promise<DecisionView | undefined> {
  if (policyPath !== undefined) {
    const { evaluation } = decide(contract, await readPolicyInput(policyPath), new Date());
    return { ...evaluation, contractSha256: contractSha256(contract) };
  }
  if (!namesGate(options, process.env)) return undefined;
  using client = connectGate(options);
  return toDecisionView(await client.check(contract));
}

async function agrees(
  contract: CommandContract,
  identity: string,
  { contractSha256: expected }: ApproveOptions,
): Promise<boolean> {
  const sha256 = contractSha256(contract);
  if (expected !== undefined) {
    if (expected.toLowerCase() === sha256) return true;
    note(plainLine(`csc: this contract’s sha256 is ${sha256}, and not ${expected}`));
    return false;
  }
  if (!canAsk()) {
    note('csc: there is no terminal to ask at: say --contract-sha256 of what was read');
    return false;
  }
  const begin = sha256.slice(0, 8);
  const answer = await ask(
    `${plainLine(`Agree to this as ${identity}?`)} Type ${begin}, as its hash begins: `,
  );
  return answer === begin;
}

function toApproval(
  contract: CommandContract,
  identity: string,
  { expiresIn = hourMs, timeWindow, ticket, reason }: ApproveOptions,
): ApprovalArtifact {
  const now = new Date();
  return {
    approval_version: 'csc.approval.v0.1',
    approval_id: randomUUID(),
    contract_sha256: contractSha256(contract),
    approver: { identity, method: 'cli' },
    approved_at: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + expiresIn)),
    scope: timeWindow === true ? 'time_window' : 'single_execution',
    ...(ticket === undefined ? {} : { ticket_id: ticket }),
    ...(reason === undefined ? {} : { reason }),
  };
}
