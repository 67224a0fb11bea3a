import { concludeFrom, type GateClient, type RunHandlers } from '@csc-fleet/client';
import { isCscError } from '@csc-fleet/common/errors';
import { type Decision, type Execution, OutputStream } from '@csc-fleet/common/messages';
import { connectGate } from '../connect/connect-gate.ts';
import type { GateOptions } from '../connect/gate-options.ts';
import {
  decisionJson,
  executionJson,
  outputJson,
  stateName,
  streamName,
  verdictName,
} from '../connect/messages-json.ts';
import { exitCodes } from '../exit-codes.ts';
import { writeReceipt } from '../receipt-file.ts';
import { describeCut } from '../submit/describe-cuts.ts';
import { leaveOnInterrupt } from '../submit/interrupts.ts';
import { createPresenter } from '../submit/presenter.ts';
import { present } from '../submit/submit.ts';
import { plainLine } from '../terminal/plain-text.ts';
import { note, writeErr, writeJson, writeOut } from '../terminal/streams.ts';

export interface GetCommandOptions extends GateOptions {
  readonly output?: true;
  readonly follow?: true;
  readonly receiptOut?: string;
  readonly quiet?: true;
  readonly json?: true;
}

/** Shows an execution as the options say. Resolves to 0, or with `follow` to the execution's exit code. */
export async function getExecution(executionId: string, options: GetCommandOptions): Promise<number> {
  using client = connectGate(options);
  const json = options.json ?? false;
  if (options.follow === true) {
    const presenter = await createPresenter({ json, quiet: options.quiet ?? false });
    using interrupts = leaveOnInterrupt(executionId);
    const run = (handlers: RunHandlers) => client.follow(executionId, { handlers });
    return await present(presenter, { interrupts, receiptOut: options.receiptOut, run });
  }
  if (options.receiptOut !== undefined) await fetchReceipt(client, executionId, options.receiptOut);
  if (options.output === true) await copyOutput(client, executionId, json);
  else await show(client, executionId, json);
  return exitCodes.ok;
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
  else await writeOut(describe(execution, decision, verified?.receipt.signature?.key_id));
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

function describe(execution: Execution, decision: Decision | undefined, keyId: string | undefined): string {
  const rows: [string, string | undefined][] = [
    ['execution', execution.executionId],
    ['state', stateName(execution.state)],
    ['intent', execution.intent],
    ['contract', `${execution.contractId} (sha256 ${execution.contractSha256})`],
    ['policy', execution.policyProfile],
    ['decision', decision && `${verdictName(decision.verdict)}: ${decision.reasons.join('; ')}`],
    ['submitted by', execution.principal],
    ['executor', execution.executorId],
    ['submitted', execution.submittedAt?.toISOString()],
    ['started', execution.startedAt?.toISOString()],
    ['ended', execution.endedAt?.toISOString()],
    ['exit code', execution.exitCode?.toString()],
    ['error', execution.error],
    ['receipt', keyId === undefined ? 'none: this is what the gate says' : `verified, signed by ${keyId}`],
  ];
  return rows.map(([name, value]) => (value ? `${name.padEnd(13)}${plainLine(value)}\n` : '')).join('');
}
