import {
  concludeFrom,
  concludeWithout,
  type ExecutionResolution,
  type GateClient,
  type ReadOutputOptions,
  type RunHandlers,
  type VerifiedReceipt,
} from '@csc-fleet/client';
import { isCscError } from '@csc-fleet/common/errors';
import { type Decision, type Execution, OutputStream } from '@csc-fleet/common/messages';
import { type Command, Option } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { type Moment, parseBytes, parseMoment } from '../action/options.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateArguments,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { type ChosenSubmitter, chooseSubmitter, identify } from '../connect/submitter.ts';
import { writeFileWhole, writeReceipt } from '../files/write-file.ts';
import { absenceJson, describeExecution } from '../show/execution.ts';
import { leaveOnInterrupt, present } from '../show/follow.ts';
import {
  decisionJson,
  executionJson,
  outputJson,
  resolutionJson,
  reviewJson,
  stateName,
  streamName,
} from '../show/messages-json.ts';
import { describeCut } from '../show/outcome.ts';
import { createPresenter } from '../show/presenter.ts';
import { fetchRecording } from '../show/recording.ts';
import { note, writeErr, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine, readable } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
Examples:
  $ csc get EXECUTION                                state, host, times, decision
  $ csc get EXECUTION --receipt-out receipt.json     the receipt, verified
  $ csc get EXECUTION --output                       what it has written so far
  $ csc get EXECUTION --follow                       its output to the end, as csc submit shows it; waits for an approval
                                                     before; names the host, where you have submitted it and its policy
                                                     wants that
  $ csc get EXECUTION --offset 1M --stream stdout    what each command wrote to stdout behind its first MiB
  $ csc get EXECUTION --since 5m --follow            what was written in the last five minutes, and what still comes

A part of the output cannot be held against the receipt's hashes, and is not; with --follow, the exit code is still that of
the verified receipt.

Ctrl-C leaves --follow and does not touch the execution; csc cancel EXECUTION ends it.
`;

export function defineGet(command: Command): void {
  command
    .description('Show an execution, its output or its receipt.')
    .argument('<execution>', 'its id, or its first characters, four or more');
  addTokenOptions(addGateOptions(command))
    .option('--output', 'write its output so far to stdout and stderr')
    .option('--follow', 'show it to its end, from the beginning; ends with its exit code')
    .option('--offset <bytes>', 'only what each command’s streams have from this offset on', parseBytes)
    .option(
      '--since <when>',
      'only what was written since: 90s, 5m, 1h ago, or an RFC 3339 time',
      parseMoment,
    )
    .addOption(
      new Option('--stream <name>', 'only this stream of each command').choices(Object.keys(streamsByName)),
    )
    .option('--recording <file>', 'where to write the recording of its terminal, once it is verified')
    .option(
      '--seal-key <file>',
      'opens sealed output; without it, the keys that csc submit --seal has kept here do',
    )
    .option(
      '--raw',
      'with --output: show what a terminal showed as it is, control sequences and all; and what is sealed, sealed',
    )
    .option('--receipt-out <file>', 'where to write the receipt, once it is verified')
    .option('--quiet', 'with --follow: show its output and nothing else')
    .option('--json', 'print JSON')
    .addHelpText('after', help);
  act<[string, GetCommandOptions]>(command, getExecution);
}

interface GetCommandOptions extends GateOptions {
  readonly output?: true;
  readonly follow?: true;
  readonly offset?: number;
  readonly since?: Moment;
  readonly stream?: string;
  readonly receiptOut?: string;
  readonly recording?: string;
  readonly raw?: true;
  readonly quiet?: true;
  readonly json?: true;
}

/** Shows an execution as the options say. Resolves to 0, or with `follow` to the execution's exit code. */
export async function getExecution(named: string, options: GetCommandOptions): Promise<number> {
  const json = options.json ?? false;
  const part = partOf(options);
  if (options.follow === true && part === undefined) {
    // Its host may have yet to be named, which is signed, too.
    const chosen = await findIdentity(options);
    const presenter = await createPresenter({ json, quiet: options.quiet ?? false });
    using client = connectGate(options, { ...chosen, say: presenter.alert });
    const executionId = await resolveExecution(client, named);
    using interrupts = leaveOnInterrupt(executionId, presenter.alert);
    const run = (handlers: RunHandlers) => client.follow(executionId, { handlers, waitForApproval: true });
    const hasEnded = async (id: string) => (await client.getExecution(id)).execution.endedAt !== undefined;
    return await present(presenter, {
      interrupts,
      receiptOut: options.receiptOut,
      run,
      hasEnded,
      reach: gateArguments(options),
    });
  }
  using client = connectGate(options, await identify(options));
  const executionId = await resolveExecution(client, named);
  if (options.follow === true) return await followPart(client, executionId, { ...options, part, json });
  if (options.recording !== undefined) await keepRecording(client, executionId, options.recording);
  if (options.receiptOut !== undefined) await fetchReceipt(client, executionId, options.receiptOut);
  if (options.output === true || part !== undefined)
    await copyOutput(client, executionId, {
      json,
      part,
      follow: false,
      raw: options.raw,
      quiet: options.quiet,
    });
  else await show(client, executionId, json);
  return exitCodes.ok;
}

// Whoever only looks on need not be able to sign.
async function findIdentity(options: GateOptions): Promise<ChosenSubmitter> {
  if (options.oidc !== undefined) return identify(options);
  try {
    return { submitter: await chooseSubmitter(options, () => {}) };
  } catch (error) {
    if (isCscError(error)) return {};
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

async function keepRecording(client: GateClient, executionId: string, path: string): Promise<void> {
  const recording = await fetchRecording(client, executionId);
  writeFileWhole(path, recording, 0o600);
  note(plainLine(`csc: recording verified (${recording.length} bytes), in ${path}; csc play shows it`));
}

const streamsByName: Readonly<Record<string, OutputStream>> = {
  stdout: OutputStream.STDOUT,
  stderr: OutputStream.STDERR,
  terminal: OutputStream.TERMINAL,
  recording: OutputStream.RECORDING,
};

/** Of the output, what is asked for; undefined: all of it. */
type Part = Pick<ReadOutputOptions, 'offset' | 'stream' | 'since' | 'sinceAgeMs'>;

function partOf({ offset, since, stream }: GetCommandOptions): Part | undefined {
  if (offset === undefined && since === undefined && stream === undefined) return undefined;
  return {
    offset,
    stream: stream === undefined ? undefined : streamsByName[stream],
    ...(since === undefined ? {} : 'at' in since ? { since: since.at } : { sinceAgeMs: since.agoMs }),
  };
}

interface CopyOptions {
  readonly json: boolean;
  readonly part: Part | undefined;
  readonly follow: boolean;
  /** What a terminal has shown, as it was, also where it would speak to this one. */
  readonly raw?: boolean | undefined;
  /** Nothing is said of a part in which there is nothing. */
  readonly quiet?: boolean | undefined;
}

/** To the end of the output; the exit code follows from the receipt alone. */
async function followPart(
  client: GateClient,
  executionId: string,
  {
    part,
    json,
    quiet,
    receiptOut,
  }: Omit<CopyOptions, 'follow'> & Pick<GetCommandOptions, 'quiet' | 'receiptOut'>,
): Promise<number> {
  using _ = leaveOnInterrupt(executionId, note);
  await copyOutput(client, executionId, { part, json, follow: true, quiet });
  const { execution: told, resolution } = await client.getExecution(executionId);
  // What the owners have resolved has no end by a receipt, whatever comes later.
  const verified = resolution === undefined ? await receiptOf(client, executionId) : undefined;
  const { execution, contradiction, exitCode } =
    verified === undefined
      ? { ...concludeWithout(told, resolution), execution: told }
      : concludeFrom(told, verified);
  if (contradiction !== undefined) warn(contradiction);
  if (verified !== undefined && receiptOut !== undefined) writeReceipt(receiptOut, verified.receiptJson);
  if (json)
    await writeJson({ type: 'result', ...executionJson(execution), verified: verified !== undefined });
  else if (quiet !== true)
    note(
      plainLine(
        `csc: ${stateName(execution.state)}, exit code ${exitCode}; this part of the output was not held against the receipt`,
      ),
    );
  return exitCode;
}

async function copyOutput(
  client: GateClient,
  executionId: string,
  { json, part, follow, raw = false, quiet = false }: CopyOptions,
): Promise<void> {
  const cuts: string[] = [];
  const ends: string[] = [];
  const shown = new Set<string>();
  for await (const item of client.readOutput(executionId, { ...part, follow })) {
    // A recording is of what was shown, and nothing beside it.
    if (item.stream === OutputStream.RECORDING && part?.stream !== item.stream) continue;
    const name = `${streamName(item.stream)} of ${item.commandId}`;
    if (json) await writeJson(outputJson(item));
    else if (item.type === 'chunk') {
      if (item.data.length > 0) shown.add(name);
      await writeChunk(item.stream, item.data, raw);
    } else {
      ends.push(`${name} ends at ${item.length}`);
      // Whoever asked for a part has been told where they read the whole, unless this part is what was cut.
      if (item.truncated && (part === undefined || shown.has(name)))
        cuts.push(describeCut(name, item.length));
    }
  }
  for (const line of cuts) note(line);
  if (part !== undefined && shown.size === 0 && !json && !quiet) note(describeNothing(part, ends));
}

function describeNothing({ stream }: Part, ends: readonly string[]): string {
  if (ends.length > 0) return plainLine(`csc: nothing to show there: ${ends.join(', ')}`);
  return stream === OutputStream.TERMINAL || stream === OutputStream.RECORDING
    ? `csc: it has no ${streamName(stream)}: it was not submitted with --tty, or nothing of it has run`
    : 'csc: nothing to show: it has no output there';
}

async function writeChunk(stream: OutputStream, data: Buffer, raw: boolean): Promise<void> {
  if (stream === OutputStream.STDERR) return writeErr(data);
  const isSafe = raw || stream !== OutputStream.TERMINAL || !process.stdout.isTTY;
  return writeOut(isSafe ? data : readable(data));
}

async function show(client: GateClient, executionId: string, json: boolean): Promise<void> {
  const { execution: told, decision, resolution, absence, ...asked } = await client.getExecution(executionId);
  const verified = told.endedAt === undefined ? undefined : await receiptOf(client, executionId);
  const decided = decision && decisionJson(decision);
  if (resolution !== undefined) return showResolved(told, decision, resolution, verified, json);
  const { execution, contradiction } =
    verified === undefined ? { execution: told, contradiction: undefined } : concludeFrom(told, verified);
  if (contradiction !== undefined) warn(contradiction);
  if (json)
    await writeJson({
      ...executionJson(execution),
      verified: verified !== undefined,
      ...(absence === undefined ? {} : { absence: absenceJson(absence) }),
      ...(asked.reviews.length === 0 ? {} : { reviews: asked.reviews.map(reviewJson) }),
      ...(asked.approvalMissing === '' ? {} : { approval_missing: asked.approvalMissing }),
      decision: decided,
    });
  else {
    const keyId = verified?.receipt.signature?.key_id;
    await writeOut(describeExecution(execution, decision, keyId, undefined, absence, asked));
  }
}

// The receipt that came after all says what ran, and is no end of what was told of it before.
async function showResolved(
  told: Execution,
  decision: Decision | undefined,
  resolution: ExecutionResolution,
  late: VerifiedReceipt | undefined,
  json: boolean,
): Promise<void> {
  // Verified is that it was given up, and no other end.
  const { execution } = concludeWithout(told, resolution);
  if (json)
    return writeJson({
      ...executionJson(execution),
      verified: resolution.verified,
      resolution: resolutionJson(resolution),
      late_receipt: late?.receipt,
      decision: decision && decisionJson(decision),
    });
  await writeOut(describeExecution(execution, decision, undefined, describeLate(late)));
}

function describeLate(late: VerifiedReceipt | undefined): string {
  if (late === undefined) return 'none';
  const { status, exit_code: code, signature } = late.receipt;
  const exit = code === undefined ? '' : `, exit code ${code}`;
  return `came later: ${status}${exit}; verified, signed by ${signature?.key_id}`;
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
