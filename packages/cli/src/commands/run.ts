import { defaultStateDir } from '@csc-fleet/common/files';
import '../action/started-once.ts';
import { join } from 'node:path';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import type { Command } from 'commander';
import { act, describeError, reportError } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append, parseBytes } from '../action/options.ts';
import { readContractInput, readPolicyInput } from '../check/decide.ts';
import { readInput } from '../files/read-input.ts';
import { checkFileWritable, writeReceipt } from '../files/write-file.ts';
import type { LocalRunResult, RunContractOptions, Withheld } from '../local/local-run.ts';
import { probeOwnHost } from '../local/probe-own-host.ts';
import { runContract } from '../local/run.ts';
import { printSandbox } from '../run/sandbox-debug.ts';
import { readSigning, type Seal, type SigningOptions, toWritten } from '../run/signing.ts';
import { describeDecision } from '../show/decision.ts';
import { handleInterrupts } from '../show/follow.ts';
import { toDecisionView } from '../show/outcome.ts';
import { createPresenter, outcomeJson, type Presenter } from '../show/presenter.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint } from '../terminal/text.ts';

const help = `
The command's stdout and stderr come out as they are; what csc says itself is on stderr. A denied contract writes a
receipt too, with the status blocked. Which approvals are used up is remembered in the state directory.
Exit codes: 0 it worked, 1 denied or failed (the receipt says how), 2 an approval is needed.

Examples:
  $ csc run contract.json policy.yaml
  $ csc keygen build-1                                                             prints the key's ID
  $ csc run contract.json policy.yaml --mode hardened --sign --signing-key build-1.key --key-id ID
  $ csc verify-receipt out/receipt.json --public-key build-1.pub --key-id ID
  $ csc run contract.json policy.yaml --mode hardened --sign … --sandbox-debug      what bwrap would be told
`;

type Options = Omit<RunCommandOptions, 'receiptVersion'> & { readonly receiptVersion: 'v0.1' | 'v0.2' };

export function defineRun(command: Command): void {
  const mode = command.createOption('--mode <mode>', 'hardened runs it in a sandbox, and needs --sign');
  const version = command.createOption('--receipt-version <version>', 'v0.2 says more of what ran');
  command
    .description('Decide on a contract, run it on this machine if it is allowed, and write a receipt.')
    .argument('<contract>', 'contract, JSON; - is standard input')
    .argument('<policy>', 'policy profile, YAML')
    .option('--receipt-out <file>', 'where to write the receipt', './out/receipt.json')
    .addOption(mode.choices(['local', 'hardened']).default('local'))
    .option('--approval <file>', 'an approval to hand in; repeatable', append, [])
    .option('--sign', 'sign the receipt; needs --signing-key and --key-id')
    .option('--signing-key <file>', 'Ed25519 private key: 32-byte seed, 64 bytes, or PKCS#8 PEM')
    .option('--key-id <id>', 'the id that this key signs under')
    .option('--allow-inline-code', 'hardened mode: let argv carry code (sh -c …), if the policy does')
    .option(
      '--stdout-bytes <size>',
      'keep up to so much of its stdout, as the policy lets it: 50M',
      parseBytes,
    )
    .option('--stderr-bytes <size>', 'the same of its stderr', parseBytes)
    .option('--accept-rlimits-only', 'hardened mode: run where no cgroup can be had; the receipt says so')
    .option('--sandbox-debug', 'print what bwrap would be told and run nothing')
    .addOption(version.choices(['v0.1', 'v0.2']).default('v0.1'))
    .option('--state-dir <dir>', 'what must be remembered (default: $XDG_STATE_HOME/csc)')
    .option('--tty', 'refused here: csc submit --tty gives terminals')
    .option('--quiet', 'show the command’s output and nothing else')
    .option('--json', 'JSON lines: events, output, then the result')
    .addHelpText('after', help);
  act<[string, string, Options]>(command, async (contract, policy, options) => {
    try {
      if (options.tty === true) throw new CscError('REQUEST_INVALID', noTerminal);
      return await runFiles(contract, policy, {
        ...options,
        receiptVersion: `csc.receipt.${options.receiptVersion}`,
      });
    } catch (error) {
      await reportError(error, options.json ?? false);
      return exitCodes.no;
    }
  });
}

const noTerminal =
  'csc run gives no terminal: what is typed goes through a gate to a host of its own. Take csc submit --tty, with a gate and an executor on this machine (csc gate, csc executor), or leave --tty out';

/** The options of `csc run`. */
interface RunCommandOptions extends SigningOptions {
  readonly receiptOut: string;
  readonly receiptVersion: 'csc.receipt.v0.1' | 'csc.receipt.v0.2';
  readonly approval: readonly string[];
  readonly stateDir?: string;
  readonly sandboxDebug?: true;
  readonly allowInlineCode?: true;
  readonly acceptRlimitsOnly?: true;
  readonly tty?: true;
  /** Bytes. */
  readonly stdoutBytes?: number;
  readonly stderrBytes?: number;
  readonly json?: true;
  readonly quiet?: true;
}

/** Decides, runs on this host and writes the receipt. Resolves to 0, 1 or 2 as protocol §8 has it. */
async function runFiles(
  contractPath: string,
  policyPath: string,
  options: RunCommandOptions,
): Promise<number> {
  const seal = await readSigning(options);
  const host = options.mode === 'hardened' ? askEarly(options) : undefined;
  const contract = await readContractInput(contractPath);
  const policy = await readPolicyInput(policyPath);
  const approvals = await Promise.all(
    options.approval.map((path) => readInput(path, artifactBytes.approval)),
  );
  const { json = false, quiet = false, mode, receiptVersion } = options;
  const stateDir = options.stateDir ?? defaultStateDir(process.env);
  if (options.sandboxDebug === true) return printSandbox(contract, policy, host, stateDir);
  checkFileWritable(options.receiptOut, '--receipt-out');
  const presenter = await createPresenter({
    json,
    quiet,
    brief: true,
    expectedOutputs: contract.expected_outputs,
  });
  const run = (more: Partial<RunContractOptions>): Promise<LocalRunResult> =>
    runContract(contract, {
      policy,
      mode,
      approvals,
      receiptVersion,
      signer: seal.signer,
      stateDir,
      host,
      ...(options.allowInlineCode === true ? { inlineCode: true } : {}),
      stdoutBytes: options.stdoutBytes,
      stderrBytes: options.stderrBytes,
      onNotice: (message) => presenter.alert(`csc: ${message}`),
      ...more,
    });
  try {
    return await show(await interruptible(presenter, run), presenter, { options, seal, stateDir });
  } finally {
    presenter.stop();
  }
}

// While the rest is read; where the contract is denied, nobody asks for the answer.
function askEarly({ acceptRlimitsOnly, signingKey }: RunCommandOptions): Promise<HostFacts> {
  const facts = probeOwnHost(acceptRlimitsOnly ?? false, signingKey);
  facts.catch(() => {});
  return facts;
}

/** The first Ctrl-C ends the run gently, the second at once. */
async function interruptible(
  { handlers, alert }: Presenter,
  run: (more: Partial<RunContractOptions>) => Promise<LocalRunResult>,
): Promise<LocalRunResult> {
  const [gentle, harsh] = [new AbortController(), new AbortController()];
  const steps = {
    cancel: async () => gentle.abort(),
    hint: 'once more kills it',
    // Without a name nothing has begun that could be killed.
    again: (executionId: string | undefined) =>
      executionId === undefined ? process.exit(exitCodes.interrupted) : harsh.abort(),
  };
  using interrupts = handleInterrupts(steps, alert);
  const onEvent: typeof handlers.onEvent = (event) => {
    interrupts.identify(event.executionId);
    return handlers.onEvent?.(event);
  };
  return await run({ handlers: { ...handlers, onEvent }, signal: gentle.signal, killSignal: harsh.signal });
}

interface Showing {
  readonly options: RunCommandOptions;
  readonly seal: Seal;
  readonly stateDir: string;
}

async function show(result: LocalRunResult, presenter: Presenter, showing: Showing): Promise<number> {
  const { options, seal, stateDir } = showing;
  const { json = false, quiet = false, receiptOut } = options;
  const outcome = { ...result, receiptJson: toWritten(result.receiptJson, seal) };
  if (result.withheld !== undefined) {
    writeReceipt(receiptOut, outcome.receiptJson);
    if (json) await writeJson({ type: 'result', ...outcomeJson(outcome) });
    else {
      await tellWithheld(result, result.withheld);
      note(`csc: blocked receipt written to ${receiptOut}`);
    }
    return result.exitCode;
  }
  saveReceipt(outcome, receiptOut, stateDir);
  await presenter.finish(outcome);
  if (!json && !quiet) note(`csc: receipt written to ${receiptOut}`);
  return result.execution.state === ExecutionState.SUCCEEDED ? exitCodes.ok : exitCodes.no;
}

async function tellWithheld({ decision }: LocalRunResult, { error }: Withheld): Promise<void> {
  if (error !== undefined) note(describeError(error));
  else if (decision !== undefined) {
    // Its one policy is a file, and there is no other to be named.
    const { policyProfile: _, ...view } = toDecisionView(decision);
    await writeOut(`${describeDecision(view, createPaint(process.stdout))}\n`);
  }
}

// What has run must not go without its receipt because a path was mistyped.
function saveReceipt(
  { executionId, receiptJson }: { readonly executionId: string; readonly receiptJson: Uint8Array },
  path: string,
  stateDir: string,
): void {
  try {
    writeReceipt(path, receiptJson);
  } catch (error) {
    const kept = join(stateDir, `receipt-${executionId}.json`);
    writeReceipt(kept, receiptJson);
    note(`csc: the receipt is ${kept}`);
    throw error;
  }
}
