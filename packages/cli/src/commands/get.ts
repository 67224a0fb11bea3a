import { concludeFrom, type GateClient, type RunHandlers, type SubmissionSigner } from '@csc-fleet/client';
import { isCscError } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { chooseSubmitter } from '../connect/submitter.ts';
import { writeReceipt } from '../files/write-file.ts';
import { describeExecution } from '../show/execution.ts';
import { leaveOnInterrupt, present } from '../show/follow.ts';
import { decisionJson, executionJson, outputJson, streamName } from '../show/messages-json.ts';
import { describeCut } from '../show/outcome.ts';
import { createPresenter } from '../show/presenter.ts';
import { note, writeErr, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
Examples:
  $ csc get EXECUTION                                state, host, times, decision
  $ csc get EXECUTION --receipt-out receipt.json     the receipt, verified
  $ csc get EXECUTION --output                       what it has written so far
  $ csc get EXECUTION --follow                       its output to the end, as csc submit shows it; names the host, where you
                                                     have submitted it and its policy wants that

Ctrl-C leaves --follow and does not touch the execution; csc cancel EXECUTION ends it.
`;

export function defineGet(command: Command): void {
  command
    .description('Show an execution, its output or its receipt.')
    .argument('<execution>', 'its id, or its first characters, four or more');
  addGateOptions(command)
    .option('--output', 'write its output so far to stdout and stderr')
    .option('--follow', 'show it to its end, from the beginning; ends with its exit code')
    .option('--receipt-out <file>', 'where to write the receipt, once it is verified')
    .option('--quiet', 'with --follow: show its output and nothing else')
    .option('--json', 'print JSON')
    .addHelpText('after', help);
  act<[string, GetCommandOptions]>(command, getExecution);
}

interface GetCommandOptions extends GateOptions {
  readonly output?: true;
  readonly follow?: true;
  readonly receiptOut?: string;
  readonly quiet?: true;
  readonly json?: true;
}

/** Shows an execution as the options say. Resolves to 0, or with `follow` to the execution's exit code. */
export async function getExecution(named: string, options: GetCommandOptions): Promise<number> {
  const json = options.json ?? false;
  if (options.follow === true) {
    // Its host may have yet to be named, which is signed, too.
    const submitter = await findSigner(options);
    const presenter = await createPresenter({ json, quiet: options.quiet ?? false });
    using client = connectGate(options, { submitter, say: presenter.alert });
    const executionId = await resolveExecution(client, named);
    using interrupts = leaveOnInterrupt(executionId, presenter.alert);
    const run = (handlers: RunHandlers) => client.follow(executionId, { handlers });
    return await present(presenter, { interrupts, receiptOut: options.receiptOut, run });
  }
  using client = connectGate(options);
  const executionId = await resolveExecution(client, named);
  if (options.receiptOut !== undefined) await fetchReceipt(client, executionId, options.receiptOut);
  if (options.output === true) await copyOutput(client, executionId, json);
  else await show(client, executionId, json);
  return exitCodes.ok;
}

// Whoever only looks on need not be able to sign.
async function findSigner(options: GateOptions): Promise<SubmissionSigner | undefined> {
  try {
    return await chooseSubmitter(options, () => {});
  } catch (error) {
    if (isCscError(error)) return undefined;
    throw error;
  }
}

async function fetchReceipt(client: GateClient, executionId: string, path: string): Promise<void> {
  const { receipt, receiptJson } = await client.getReceipt(executionId);
  writeReceipt(path, receiptJson);
  note(
    plainLine(
      `csc: receipt verified (${receipt.status}, signed by ${receipt.signature?.key_id}), in ${path}`,
    ),
  );
}

async function copyOutput(client: GateClient, executionId: string, json: boolean): Promise<void> {
  const cuts: string[] = [];
  for await (const item of client.readOutput(executionId, { follow: false })) {
    if (json) await writeJson(outputJson(item));
    else if (item.type === 'chunk') {
      await (item.stream === OutputStream.STDERR ? writeErr(item.data) : writeOut(item.data));
    } else if (item.truncated)
      cuts.push(describeCut(`${streamName(item.stream)} of ${item.commandId}`, item.length));
  }
  for (const line of cuts) note(line);
}

async function show(client: GateClient, executionId: string, json: boolean): Promise<void> {
  const { execution: told, decision } = await client.getExecution(executionId);
  const verified = told.endedAt === undefined ? undefined : await receiptOf(client, executionId);
  const { execution, contradiction } =
    verified === undefined ? { execution: told, contradiction: undefined } : concludeFrom(told, verified);
  const decided = decision && decisionJson(decision);
  if (contradiction !== undefined) warn(contradiction);
  if (json)
    await writeJson({ ...executionJson(execution), verified: verified !== undefined, decision: decided });
  else await writeOut(describeExecution(execution, decision, verified?.receipt.signature?.key_id));
}

// One that never ran to its end, or whose host was lost, has none.
async function receiptOf(client: GateClient, executionId: string) {
  try {
    return await client.getReceipt(executionId);
  } catch (error) {
    if (isCscError(error, 'EXECUTION_UNKNOWN')) return undefined;
    throw error;
  }
}

function warn(contradiction: string): void {
  note(
    plainLine(`csc: WARNING the gate said ${contradiction}; the executor's signed receipt says otherwise`),
  );
}
