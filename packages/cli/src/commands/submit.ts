import type { GateClient, RunHandlers, SubmitOptions, TerminalClaim } from '@csc-fleet/client';
import { parseContract } from '@csc-fleet/common/contract';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { ExecutionState, Verdict } from '@csc-fleet/common/messages';
import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append, parseBytes, parseDuration } from '../action/options.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { addGateOptions, addTokenOptions, gateArguments, gateOptionsHelp } from '../connect/gate-options.ts';
import { makeKeptSealKey, readSealKey } from '../connect/seal-keys.ts';
import { type ChosenSubmitter, chooseIdentity, type SubmitterOptions } from '../connect/submitter.ts';
import { tracedBy } from '../connect/traces.ts';
import { readInput } from '../files/read-input.ts';
import { TerminalClaims } from '../files/terminal-claims.ts';
import { checkFileWritable } from '../files/write-file.ts';
import { describeDecision } from '../show/decision.ts';
import { giveUp, handleInterrupts, leave, leaveOnInterrupt, present } from '../show/follow.ts';
import { decisionJson, stateName } from '../show/messages-json.ts';
import { describeWaiting, toDecisionView } from '../show/outcome.ts';
import { createPresenter } from '../show/presenter.ts';
import { TerminalSession } from '../show/terminal-session.ts';
import { ownTerminal } from '../terminal/raw.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
After csc login, what you ask for is signed with your key: hosts that ask for that believe it instead of the gate.

The command's stdout and stderr come out as they are; what csc says itself is on stderr. Ctrl-C asks the gate to end
the run and waits for that; once more leaves it running. A gate that is away or full is waited for (--wait), and
nothing is shown twice. Ends with the command's own exit code; denied 1, an approval needed 2 (csc help exit-codes).

Examples:
  $ csc submit contract.json --gate gate.example:7443 --pki pki --as alice
  $ csc submit build.json --label arch=arm64 --receipt-out receipt.json > build.log
  $ csc submit deploy.json --approval approval.json
  $ csc submit long.json --detach                    prints the execution's id; csc get ID --follow
  $ jq -c . contract.json | csc submit - --json | jq -r 'select(.type == "result").receipt.status'
`;

function addLabel(text: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Say it as KEY=VALUE.');
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) };
}

const dayMs = 24 * 3_600_000;

function parseWait(text: string): number {
  const ms = parseDuration(text);
  if (ms > 0 && ms <= dayMs) return ms;
  throw new InvalidArgumentError('Say more than 0, and 24h at most: no submission stands for longer.');
}

export function defineSubmit(command: Command): void {
  const version = command.createOption('--receipt-version <version>', 'v0.1 is what the reference writes');
  const key = command.createOption(
    '--submitter-key <file>',
    'sign with this private key, instead of the one of csc login',
  );
  const unsigned = command.createOption('--unsigned', 'sign nothing, for hosts that ask for no signature');
  command
    .description('Run a contract through a gate: decided by policy, run by an executor, shown as it goes.')
    .argument('<contract>', 'contract, JSON; - is standard input');
  addTokenOptions(addGateOptions(command))
    .option('--approval <file>', 'an approval to hand in; repeatable', append, [])
    .option('--label <key=value>', 'the executor must have this label; repeatable', addLabel, {})
    .option('--executor <name>', 'only this host; part of what is signed')
    .option('--profile <name>', 'which of the policy profiles bound to you decides')
    .option('--receipt-out <file>', 'where to write the receipt, once it is verified')
    .addOption(version.choices(['v0.1', 'v0.2']).default('v0.2'))
    .addOption(key.conflicts('oidc'))
    .addOption(unsigned.conflicts(['submitterKey', 'oidc']))
    .option('--idempotency-key <key>', 'the same key and contract give the same execution again')
    .option('--timeout-queue <time>', 'how long to wait for an executor: 30s, 5m', parseDuration)
    .option(
      '--wait-for-approval <time>',
      'let it wait so long for people and for an executor, up to 24h (signed), and stay for that without --detach',
      parseWait,
    )
    .option('--stdout-bytes <size>', 'keep up to so much of its stdout: 50M (signed)', parseBytes)
    .option('--stderr-bytes <size>', 'the same of its stderr', parseBytes)
    .option('--require-outputs', 'fail where an expected output is not there (signed: the host does)')
    .option(
      '--seal',
      'have its output sealed by its host to a key that is made here and kept, so that no gate reads it (signed)',
    )
    .option('--seal-key <file>', 'the same, to this key (openssl genpkey -algorithm x25519)')
    .option('--attest', 'have the receipt attested, for csc receipts export (signed: the host does)')
    .option('--tty', 'run it on this terminal: what you type goes to it (~. leaves, csc attach comes back)')
    .option('--record <file>', 'write the recording of its terminal (asciicast v3), once it is verified')
    .option('--allow-truncated', 'do not end with 74 where its output was cut')
    .option(
      '--detach',
      'print the execution’s id and leave, once its host is named where its policy wants that',
    )
    .option('--quiet', 'show the command’s output and nothing else')
    .option('--json', 'JSON lines: events, output, then the result')
    .addHelpText('after', help);
  type Options = Omit<SubmitCommandOptions, 'receiptVersion'> & { receiptVersion: 'v0.1' | 'v0.2' };
  act<[string, Options]>(command, (file, options) => {
    const isSealed = options.seal === true || options.sealKey !== undefined;
    // As every host says of it, before one is asked.
    if (isSealed && options.receiptVersion === 'v0.1')
      command.error(
        'error: a receipt of v0.1 cannot say that output was sealed: leave --receipt-version v0.1 out',
      );
    if (isSealed && options.tty === true)
      command.error('error: the output of a terminal is not sealed: leave --seal or --tty out');
    const say = options.quiet === true ? () => undefined : note;
    return tracedBy(process.env, say, () =>
      submitContract(file, { ...options, receiptVersion: `csc.receipt.${options.receiptVersion}` }),
    );
  });
}

interface SubmitCommandOptions extends SubmitterOptions {
  readonly approval: readonly string[];
  readonly label: Readonly<Record<string, string>>;
  readonly executor?: string;
  readonly profile?: string;
  readonly receiptOut?: string;
  readonly receiptVersion?: 'csc.receipt.v0.1' | 'csc.receipt.v0.2';
  readonly idempotencyKey?: string;
  /** Milliseconds. */
  readonly timeoutQueue?: number;
  /** Milliseconds. */
  readonly waitForApproval?: number;
  /** Bytes. */
  readonly stdoutBytes?: number;
  readonly stderrBytes?: number;
  readonly requireOutputs?: true;
  readonly attest?: true;
  readonly seal?: true;
  readonly allowTruncated?: true;
  readonly tty?: true;
  readonly record?: string;
  readonly detach?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** Submits a contract file and, unless detached, shows it to its end. Resolves to the exit code of `csc submit`. */
async function submitContract(file: string, options: SubmitCommandOptions): Promise<number> {
  if (options.tty === true) return await submitOnTerminal(file, options);
  const contract = await readInput(file, artifactBytes.contract);
  const chosen = await chooseIdentity(options);
  const submitOptions = {
    ...(await toSubmitOptions(options)),
    // Unsigned, nobody but this process can ask for them.
    requireOutputs: chosen.submitter !== undefined && options.requireOutputs === true,
    startWithinMs: startWithin(options, chosen),
  };
  const waitForApproval = options.waitForApproval !== undefined;
  if (options.detach === true) {
    using client = connectGate(options, chosen);
    // Awaited, so that the client is closed only afterwards.
    return await submitAndLeave(client, contract, submitOptions, options.json ?? false);
  }
  // Its faults are the client's to name.
  const parsed = parseContract(contract);
  const presenter = await createPresenter({
    json: options.json ?? false,
    quiet: options.quiet ?? false,
    expectedOutputs: parsed.ok ? parsed.value.expected_outputs : [],
  });
  using client = connectGate(options, { ...chosen, say: presenter.alert });
  presenter.now('asking the gate');
  const steps = {
    cancel: (executionId: string) => client.cancel(executionId),
    hint: 'once more leaves it to itself',
    again: (executionId: string | undefined) => leave(executionId, presenter.alert),
    giveUp: (executionId: string | undefined, why: string) => giveUp(executionId, why, presenter.alert),
  };
  using interrupts = handleInterrupts(steps, presenter.alert);
  const run = (handlers: RunHandlers) =>
    client.run(contract, { ...submitOptions, waitForApproval, handlers });
  const wanted = {
    wholeOutput: options.allowTruncated !== true,
    outputs: options.requireOutputs === true,
  };
  return await present(presenter, {
    interrupts,
    receiptOut: options.receiptOut,
    run,
    wanted,
    reach: gateArguments(options),
  });
}

// The terminal is the job's from its start to its end: Ctrl-C is typed, and asks for nothing.
async function submitOnTerminal(file: string, options: SubmitCommandOptions): Promise<number> {
  const own = ownTerminal('--tty');
  if (options.record !== undefined) checkFileWritable(options.record, '--record');
  const contract = await readInput(file, artifactBytes.contract);
  const chosen = await chooseIdentity(options);
  const presenter = await createPresenter({ json: false, quiet: options.quiet ?? false, tty: true });
  using client = connectGate(options, { ...chosen, say: presenter.alert });
  using session = new TerminalSession();
  const claims = new TerminalClaims(process.env);
  const steps = {
    cancel: (executionId: string) => client.cancel(executionId),
    hint: 'once more leaves it to itself',
    again: (executionId: string | undefined) => leave(executionId, presenter.alert, 'attach'),
    giveUp: (executionId: string | undefined, why: string) =>
      giveUp(executionId, why, presenter.alert, 'attach'),
  };
  using interrupts = handleInterrupts(steps, presenter.alert);
  const run = (handlers: RunHandlers) =>
    client.run(contract, {
      ...submitOptions,
      terminal: {
        ...own,
        onInput: (input) => {
          keepClaim(claims, input.claim, presenter.alert);
          if (options.quiet !== true) presenter.alert(howToLeave(input.claim.executionId));
          session.open(input, presenter.alert);
        },
      },
      handlers: session.recording(handlers),
    });
  const submitOptions = {
    ...(await toSubmitOptions(options)),
    startWithinMs: startWithin(options, chosen),
    waitForApproval: options.waitForApproval !== undefined,
  };
  const ended = present(presenter, {
    interrupts,
    receiptOut: options.receiptOut,
    back: 'attach',
    reach: gateArguments(options),
    run: async (handlers) => {
      const outcome = await run(handlers).finally(() => session[Symbol.dispose]());
      claims.drop(outcome.executionId);
      if (options.record !== undefined) {
        const written = session.writeRecording(options.record, presenter.alert);
        if (options.quiet !== true) presenter.alert(written);
      }
      return outcome;
    },
  });
  return await ended;
}

function howToLeave(executionId: string): string {
  return plainLine(
    `csc: execution ${executionId}: ~. at the beginning of a line leaves it running, csc attach ${executionId} comes back`,
  );
}

// Without it, nobody can come back to type; that is no reason not to run.
function keepClaim(claims: TerminalClaims, claim: TerminalClaim, alert: (text: string) => void): void {
  try {
    claims.keep(claim);
  } catch (error) {
    if (!isCscError(error)) throw error;
    alert(plainLine(`csc: csc attach will only look on: ${error.message}`));
  }
}

// What nobody has signed waits for as long as the gate lets it.
function startWithin(
  { waitForApproval }: SubmitCommandOptions,
  { submitter }: ChosenSubmitter,
): number | undefined {
  return submitter === undefined ? undefined : waitForApproval;
}

async function toSubmitOptions(options: SubmitCommandOptions): Promise<Omit<SubmitOptions, 'terminal'>> {
  return {
    approvals: await Promise.all(options.approval.map((path) => readInput(path, artifactBytes.approval))),
    selector: options.label,
    executorId: options.executor,
    policyProfile: options.profile,
    receiptVersion: options.receiptVersion,
    idempotencyKey: options.idempotencyKey,
    attest: options.attest,
    sealTo: toSealTo(options),
    queueTimeoutMs: options.timeoutQueue,
    limits: toLimits(options),
  };
}

function toSealTo({ seal, sealKey }: SubmitCommandOptions): Uint8Array | undefined {
  if (sealKey !== undefined) return readSealKey(sealKey).publicKey;
  return seal === true ? makeKeptSealKey(process.env).publicKey : undefined;
}

// Undefined where nothing is asked for: only a signed submission can ask.
function toLimits({ stdoutBytes, stderrBytes }: SubmitCommandOptions): SubmitOptions['limits'] {
  if (stdoutBytes === undefined && stderrBytes === undefined) return undefined;
  return {
    ...(stdoutBytes === undefined ? {} : { stdout_bytes: stdoutBytes }),
    ...(stderrBytes === undefined ? {} : { stderr_bytes: stderrBytes }),
  };
}

async function submitAndLeave(
  client: GateClient,
  contract: Buffer,
  options: SubmitOptions,
  json: boolean,
): Promise<number> {
  const submitted = await client.submit(contract, options);
  const { executionId, decision, state, existing, mustNameHost, waitsUntil } = submitted;
  if (json) {
    const decided = decision && decisionJson(decision);
    await writeJson({ execution_id: executionId, state: stateName(state), existing, decision: decided });
  } else {
    await writeOut(`${executionId}\n`);
    if (decision !== undefined && state !== ExecutionState.QUEUED && decision.verdict !== Verdict.ALLOW) {
      const paint = createPaint(process.stderr);
      const isWaiting = state === ExecutionState.AWAITING_APPROVAL;
      note(
        isWaiting
          ? describeWaiting({ executionId, mustNameHost }, decision, paint, waitsUntil)
          : describeDecision(toDecisionView(decision), paint),
      );
    }
  }
  if (state === ExecutionState.AWAITING_APPROVAL) return exitCodes.needsApproval;
  if (mustNameHost) await nameHost(client, executionId);
  return decision?.verdict === Verdict.DENY ? exitCodes.no : exitCodes.ok;
}

// It runs on no host that its submission does not name, and nobody else can sign that.
async function nameHost(client: GateClient, executionId: string): Promise<void> {
  const later = `csc get ${executionId} --follow names it`;
  using _interrupts = leaveOnInterrupt(executionId, note);
  note(plainLine(`csc: waiting for the host that its submission must name; if you leave before, ${later}`));
  await client.awaitPlacement(executionId);
}
