import { join } from 'node:path';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import { describeDecision } from '../check/describe.ts';
import { readContractInput, readPolicyInput } from '../check/files.ts';
import { exitCodes } from '../exit-codes.ts';
import type { LocalRunResult, RunContractOptions, Withheld } from '../local/local-run.ts';
import { runContract } from '../local/run.ts';
import { defaultStateDir } from '../local/state-dir.ts';
import { readInput } from '../read-input.ts';
import { writeReceipt } from '../receipt-file.ts';
import { describeError } from '../report-error.ts';
import { toDecisionView } from '../submit/describe-outcome.ts';
import { handleInterrupts } from '../submit/interrupts.ts';
import { createPresenter, outcomeJson, type Presenter } from '../submit/presenter.ts';
import { createPaint } from '../terminal/colour.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { printSandbox } from './sandbox-debug.ts';
import { readSigning, type Seal, type SigningOptions, toWritten } from './signing.ts';

/** The options of `csc run`. */
export interface RunCommandOptions extends SigningOptions {
  readonly receiptOut: string;
  readonly receiptVersion: 'csc.receipt.v0.1' | 'csc.receipt.v0.2';
  readonly approval: readonly string[];
  readonly stateDir?: string;
  readonly sandboxDebug?: true;
  readonly allowInlineCode?: true;
  readonly acceptRlimitsOnly?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** Decides, runs on this host and writes the receipt. Resolves to 0, 1 or 2 as protocol §8 has it. */
export async function runFiles(
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
  if (options.sandboxDebug === true) return printSandbox(contract, policy, host);
  const { json = false, quiet = false, mode, receiptVersion } = options;
  const stateDir = options.stateDir ?? defaultStateDir(process.env);
  const presenter = await createPresenter({ json, quiet, brief: true });
  const run = (more: Partial<RunContractOptions>): Promise<LocalRunResult> =>
    runContract(contract, {
      ...{ policy, mode, approvals, receiptVersion, signer: seal.signer, stateDir, host },
      ...(options.allowInlineCode === true ? { inlineCode: true } : {}),
      onNotice: (message) => note(`csc: ${message}`),
      ...more,
    });
  try {
    return await show(await interruptible(presenter, run), presenter, { options, seal, stateDir });
  } finally {
    presenter.stop();
  }
}

// While the rest is read; where the contract is denied, nobody asks for the answer.
function askEarly({ acceptRlimitsOnly }: RunCommandOptions): Promise<HostFacts> {
  const facts = probeHost({ acceptRlimitsOnly: acceptRlimitsOnly ?? false });
  facts.catch(() => {});
  return facts;
}

/** The first Ctrl-C ends the run gently, the second at once. */
async function interruptible(
  { handlers }: Presenter,
  run: (more: Partial<RunContractOptions>) => Promise<LocalRunResult>,
): Promise<LocalRunResult> {
  const [gentle, harsh] = [new AbortController(), new AbortController()];
  using interrupts = handleInterrupts({
    cancel: async () => gentle.abort(),
    hint: 'once more kills it',
    // Without a name nothing has begun that could be killed.
    again: (executionId) => (executionId === undefined ? process.exit(exitCodes.interrupted) : harsh.abort()),
  });
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
    return result.withheld.reason === 'needs_approval' ? exitCodes.needsApproval : exitCodes.no;
  }
  saveReceipt(outcome, receiptOut, stateDir);
  await presenter.finish(outcome);
  if (!json && !quiet) note(`csc: receipt written to ${receiptOut}`);
  return result.execution.state === ExecutionState.SUCCEEDED ? exitCodes.ok : exitCodes.no;
}

async function tellWithheld({ decision }: LocalRunResult, { error }: Withheld): Promise<void> {
  if (error !== undefined) note(describeError(error));
  else if (decision !== undefined) {
    await writeOut(`${describeDecision(toDecisionView(decision), createPaint(process.stdout))}\n`);
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
