import type { CommandContract } from '@csc-fleet/common/contract';
import type { SubmitRequest } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import type { Seal, SigningOptions } from './signing.ts';

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

/** One run: what is asked for, and how it is to be told. */
export interface LocalRun {
  readonly contract: CommandContract;
  readonly policy: PolicyDocument;
  readonly request: SubmitRequest;
  readonly seal: Seal;
  /** What the sandbox stands on; absent in local mode. */
  readonly facts: Promise<HostFacts> | undefined;
  readonly options: RunCommandOptions;
}
