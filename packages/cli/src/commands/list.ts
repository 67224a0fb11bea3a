import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { executionJson, stateName } from '../show/messages-json.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { formatTime, toTable } from '../terminal/table.ts';

interface ListCommandOptions extends GateOptions {
  readonly state: readonly string[];
  readonly limit: number;
  readonly all?: true;
  readonly json?: true;
}

const states = Object.values(ExecutionState).filter((state) => state > 0);

/** The names of all states an execution can be in. */
const stateNames: readonly string[] = states.map(stateName);

/** Prints the caller's executions, or an admin everybody's, newest first: a table, or JSON lines. */
export async function listExecutions(options: ListCommandOptions): Promise<number> {
  using client = connectGate(options, await identify(options));
  const wanted = states.filter((state) => options.state.includes(stateName(state)));
  const found: Execution[] = [];
  const allPrincipals = options.all === true;
  const pageSize = Math.min(options.limit, 1000);
  for await (const execution of client.list({ states: wanted, pageSize, allPrincipals })) {
    if (options.json === true) await writeJson(executionJson(execution));
    if (found.push(execution) >= options.limit) break;
  }
  if (options.json === true) return exitCodes.ok;
  if (found.length === 0) note('csc: there are none');
  else await writeOut(describe(found, allPrincipals));
  return exitCodes.ok;
}

const intentShown = 60;

function describe(executions: readonly Execution[], ofAll: boolean): string {
  const head = [
    'EXECUTION',
    'STATE',
    ...(ofAll ? ['PRINCIPAL'] : []),
    'SUBMITTED',
    'EXECUTOR',
    'EXIT',
    'INTENT',
  ];
  const rows = executions.map((it) => [
    it.executionId,
    it.glassBroken === true ? `${stateName(it.state)}, GLASS BROKEN` : stateName(it.state),
    ...(ofAll ? [it.principal] : []),
    formatTime(it.submittedAt),
    it.executorId,
    it.exitCode === undefined ? '' : String(it.exitCode),
    it.intent.length > intentShown ? `${it.intent.slice(0, intentShown)}…` : it.intent,
  ]);
  return toTable(head, rows);
}

const help = `${gateOptionsHelp}
States: ${stateNames.join(', ')}. This is what the gate says; csc get EXECUTION verifies the receipt of one.

Examples:
  $ csc list --state running --state queued
  $ csc list --limit 1000 --json | jq -r 'select(.exit_code != 0).execution_id'
`;

function addState(name: string, list: readonly string[]): readonly string[] {
  if (!stateNames.includes(name)) throw new InvalidArgumentError(`There are: ${stateNames.join(', ')}.`);
  return [...list, name];
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.');
  return Number(text);
}

export function defineList(command: Command): void {
  command.description('List your executions, newest first.');
  addTokenOptions(addGateOptions(command))
    .option('--state <state>', 'only those in this state; repeatable', addState, [])
    .option('--all', 'everybody’s, for admins (the role admin in bindings.yaml)')
    .option('--limit <count>', 'how many at most', parseLimit, 50)
    .option('--json', 'JSON lines, one execution each')
    .addHelpText('after', help);
  act<[ListCommandOptions]>(command, listExecutions);
}
