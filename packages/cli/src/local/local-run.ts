import type { ApprovalInput, RunHandlers } from '@csc-fleet/client/offline';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Signer } from '@csc-fleet/common/crypto';
import type { CscError } from '@csc-fleet/common/errors';
import type { Decision, Execution, SubmitRequest } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutionReceipt, ReceiptVersion } from '@csc-fleet/common/receipt';
import type { HostFacts } from '@csc-fleet/sandbox/plan';

/** How a contract is run in this process. Every member but the policy has a default. */
export interface RunContractOptions {
  /** What decides: a policy that has been read, or the YAML text of one. */
  readonly policy: PolicyDocument | string | Uint8Array;
  /**
   * `hardened` runs it in the sandbox, which takes Linux and what `csc doctor` asks for; `local` runs it without one, and
   * its receipt says so. Absent: hardened.
   */
  readonly mode?: 'hardened' | 'local' | undefined;
  /** Whose consent is handed in. Each counts once, by what the state directory remembers. Absent: nobody's. */
  readonly approvals?: readonly ApprovalInput[] | undefined;
  /** Absent: v0.2, which says more of what ran. */
  readonly receiptVersion?: ReceiptVersion | undefined;
  /** Signs the receipt. Absent: a key made up for this call, so that its signature proves nothing to others. */
  readonly signer?: Signer | undefined;
  /** A directory that remembers which approvals are used up and what was started. Absent: $XDG_STATE_HOME/csc. */
  readonly stateDir?: string | undefined;
  /** Let argv carry code of its own (`sh -c …`) where the policy does. Absent: only in `local` mode. */
  readonly inlineCode?: boolean | undefined;
  /** Run where no cgroup can be had; the receipt says so. Absent: false. */
  readonly acceptRlimitsOnly?: boolean | undefined;
  /** How much of its stdout is kept, in bytes, as far as the policy's limits go. Absent: 10 MiB. */
  readonly stdoutBytes?: number | undefined;
  /** The same of its stderr. Absent: 1 MiB. */
  readonly stderrBytes?: number | undefined;
  /** What the sandbox stands on, by `probeHost`, for whoever runs many contracts. Absent: it is asked for. */
  readonly host?: HostFacts | Promise<HostFacts> | undefined;
  /** The variables that a contract may name in `env_allow`. Absent: this process's own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Told of events and output as they come. Nothing comes where nothing is handed to the host. */
  readonly handlers?: RunHandlers | undefined;
  /**
   * Ends the run: SIGTERM, and SIGKILL five seconds later. What ran has its receipt, so the promise still resolves with
   * it. An abort before anything has run rejects with CANCELLED.
   */
  readonly signal?: AbortSignal | undefined;
  /** Ends the run with SIGKILL at once. */
  readonly killSignal?: AbortSignal | undefined;
  /** Told in a sentence what a person should know and no result says. Absent: dropped. */
  readonly onNotice?: ((message: string) => void) | undefined;
}

/** Why nothing was handed to the host. */
export interface Withheld {
  /** The policy denies it; the policy asks for an approval that is not there; an approval does not count. */
  readonly reason: 'denied' | 'needs_approval' | 'approval_invalid';
  /** What is wrong with an approval; undefined for the other reasons, which the decision says. */
  readonly error: CscError | undefined;
}

/** How a run ended, by its receipt. */
export interface LocalRunResult {
  readonly executionId: string;
  /** State, times and error are the receipt's. */
  readonly execution: Execution;
  readonly decision: Decision | undefined;
  /** Verified. There always is one: what did not run has a `blocked` receipt. */
  readonly receipt: ExecutionReceipt;
  /** The receipt as it was signed: canonical JSON, UTF-8. */
  readonly receiptJson: Buffer;
  /** What a process that stands for this run may end with, 0 after a success only: see `Conclusion.exitCode`. */
  readonly exitCode: number;
  /** Undefined where the contract was handed to the host: then the receipt says what came of it. */
  readonly withheld: Withheld | undefined;
}

/** One run, all of it read. */
export interface LocalRun {
  readonly contract: CommandContract;
  readonly contractSha256: string;
  readonly policy: PolicyDocument;
  readonly request: SubmitRequest;
  readonly receiptVersion: ReceiptVersion;
  readonly signer: Signer;
  readonly mode: 'hardened' | 'local';
  readonly stateDir: string;
  readonly options: RunContractOptions;
}
