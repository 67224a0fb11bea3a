import { isDeepStrictEqual } from 'node:util';
import type { CountedApproval } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { type Limits, narrowLimits } from '@csc-fleet/common/limits';
import type { Policy, PolicyDocument } from '@csc-fleet/common/policy';
import type { EgressHost } from '@csc-fleet/common/schema';
import { recordingBytes, terminalRun } from '@csc-fleet/common/terminal';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { JobUser, JobUserLeases, UserLease } from '@csc-fleet/sandbox/host';
import type { RunLimits } from '@csc-fleet/sandbox/plan';
import type { OutputCaps } from '../output/index.ts';
import { type RunSecrets, readRunSecrets, type SecretProvider } from '../secrets/index.ts';
import {
  inputBounds,
  type OpenTerminal,
  type OpenTerminals,
  Recorder,
  TerminalInput,
} from '../terminal/index.ts';
import type { Admitted } from './ceiling.ts';
import type { HostCeiling } from './host-ceiling.ts';
import type { OutputWish } from './offer.ts';
import { awaitBegin, msUntilBegun } from './single-use.ts';
import type { SubmittedTicket } from './submission.ts';

/** What runs are given of this host, one at a time. */
export interface Stock {
  readonly jobUsers: JobUserLeases;
  /** Absent where this host hands out no secrets. */
  readonly secrets?: SecretProvider;
  /** Absent where this host has no terminals to give. */
  readonly terminals?: OpenTerminals;
}

/** What one run has of this host for itself, until it is given back. */
export class Belongings {
  readonly secrets: RunSecrets;
  /** Whether time may have passed while they were taken: then what was asked before must be asked again. */
  readonly tookTime: boolean;
  /** Absent where it has none. */
  readonly terminal: OpenTerminal | undefined;
  readonly #lease: UserLease;

  constructor(lease: UserLease, secrets: RunSecrets, tookTime: boolean, terminal?: OpenTerminal) {
    this.#lease = lease;
    this.terminal = terminal;
    this.secrets = secrets;
    this.tookTime = tookTime;
  }

  /** Absent in local mode. */
  get user(): JobUser | undefined {
    return this.#lease.user;
  }

  /** To be called once, when no process of the run is left. Does not reject. */
  async giveBack(): Promise<void> {
    this.secrets.wipe();
    this.terminal?.close();
    await this.#lease.giveBack();
  }
}

class SuppliedRun {
  protected readonly step = 'supplied';
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  readonly document: PolicyDocument;
  readonly approvals: readonly CountedApproval[];
  readonly submitted: SubmittedTicket;
  readonly ceiling: HostCeiling;
  readonly belongings: Belongings;

  constructor(
    { contract, ticket, verifiedAt, document, approvals, submitted, ceiling }: Admitted,
    belongings: Belongings,
  ) {
    this.submitted = submitted;
    this.ceiling = ceiling;
    this.contract = contract;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.document = document;
    this.approvals = approvals;
    this.belongings = belongings;
  }
}

/** It was admitted, and has its user and its secrets: if they took time, that it was admitted may be out of date. */
export type Supplied = SuppliedRun;

/**
 * The run's user, and the secrets that the contract names: asked for only by an offer that has its slot, and whose ticket
 * has begun, which is waited for. This is the one pause before the journal. Rejects with TICKET_INVALID, QUEUE_FULL, or a
 * CscError that says which secret could not be had; nothing is taken then.
 */
export async function takeBelongings(
  admitted: Admitted,
  { jobUsers, secrets: provider, terminals }: Stock,
  clock: Clock,
): Promise<Supplied> {
  const { contract, submitted, approvals } = admitted;
  const timed = { ticket: submitted.ticket, submission: submitted.submission, approvals };
  const isEarly = msUntilBegun(timed, clock) > 0;
  if (isEarly) await awaitBegin(timed, clock);
  const lease = await jobUsers.lease();
  try {
    const secrets = await readRunSecrets(contract, provider);
    const terminal = await openFor(admitted, lease, terminals).catch((error: unknown) => {
      secrets.wipe();
      throw error;
    });
    const tookTime = terminal !== undefined || isEarly || jobUsers.pooled || secrets.values.size > 0;
    return new SuppliedRun(admitted, new Belongings(lease, secrets, tookTime, terminal));
  } catch (error) {
    await lease.giveBack();
    throw error;
  }
}

async function openFor(
  { ticket }: Admitted,
  { user }: UserLease,
  open: OpenTerminals | undefined,
): Promise<OpenTerminal | undefined> {
  const { terminal } = ticket.grant;
  if (terminal === undefined) return undefined;
  if (open === undefined)
    throw new CscError(
      'SANDBOX_UNAVAILABLE',
      'this host gives no terminals: local mode has no sandbox for one',
      { isLasting: true },
    );
  return open(terminal, user);
}

/** The same with what it was admitted as since. */
export function supplyAgain({ belongings }: Supplied, admitted: Admitted): Supplied {
  return new SuppliedRun(admitted, belongings);
}

/** What the host's owner grants at most, whatever a policy or a ticket says. */
export interface OwnersLimits {
  /** The most that one command may use up. */
  readonly runLimits: RunLimits;
  /** How much of a contract's output is kept where nobody asks for more. */
  readonly outputCaps: OutputCaps;
}

/** What a command may have of this host: the least of what the host's owner, the policy and the ticket say. */
export interface Allowance {
  readonly policy: Policy;
  readonly limits: RunLimits;
  readonly secrets: RunSecrets;
  /** The host user that its commands run as, this run's alone where there is a pool. Absent: local mode, or the first. */
  readonly user?: JobUser;
  /** Each is a list of where a command with an allowlisted network may go; what all of them name. */
  readonly egressHosts: readonly (readonly EgressHost[])[];
  /** Whether its commands get Unix sockets where they are alone. Default: they do. */
  readonly unixSockets?: HostCeiling['unixSockets'];
  /** What the host's owner opens at all. */
  readonly pathRoots: readonly string[];
  /** Whether argv may carry code of its own. */
  readonly inlineCode: boolean;
  /** Of the contract: a write path that is not there and is one of them is a file. Absent: none. */
  readonly expectedOutputs?: readonly string[];
  /** On which its one command runs. Absent: it has none. */
  readonly terminal?: RunTerminal;
}

/** A terminal, who may type into it, and what is kept of it. */
export interface RunTerminal {
  readonly ends: OpenTerminal;
  readonly input: TerminalInput;
  readonly recorder: Recorder;
  /** TERM. */
  readonly type: string;
}

class GrantedRun {
  protected readonly step = 'granted';
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  readonly document: PolicyDocument;
  readonly approvals: readonly CountedApproval[];
  readonly submitted: SubmittedTicket;
  readonly belongings: Belongings;
  readonly allowance: Allowance;
  readonly outputCaps: OutputCaps;

  constructor(
    { contract, ticket, verifiedAt, document, approvals, submitted, belongings }: Supplied,
    allowance: Allowance,
    outputCaps: OutputCaps,
  ) {
    this.contract = contract;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.document = document;
    this.approvals = approvals;
    this.submitted = submitted;
    this.belongings = belongings;
    this.allowance = allowance;
    this.outputCaps = outputCaps;
  }
}

/** It has its slot, its user and its secrets, and how much it may use up is settled. Nothing has been built. */
export type Granted = GrantedRun;

/** Settles what a run may have. Pure. */
export function grant(supplied: Supplied, owner: OwnersLimits): Granted {
  const { allowance, caps } = settle(supplied, owner);
  const terminal = terminalOf(supplied, caps);
  if (terminal === undefined) return new GrantedRun(supplied, allowance, caps);
  const recording = recordingBytes(caps.stdout);
  return new GrantedRun(supplied, { ...allowance, terminal }, { ...caps, terminal: caps.stdout, recording });
}

function settle(
  { contract, document, ticket, belongings, submitted, ceiling }: Supplied,
  owner: OwnersLimits,
): { readonly allowance: Allowance; readonly caps: OutputCaps } {
  // The gate can only give less than was submitted; what a submitter asks for is in what the gate signed, or was meant to be.
  const limits = narrowLimits(ticket.grant.limits, submitted.submission?.limits ?? {});
  const allowance = {
    ...allowanceOf(document, limits, belongings, { ...owner, ceiling }),
    expectedOutputs: contract.expected_outputs,
  };
  const wish = submitted.claimed?.output ?? {};
  return { allowance, caps: outputCapsOf(document, limits, wish, { ...owner, ceiling }) };
}

/** Whether a run that was granted would be granted just that now. Pure. */
export function isStillGranted(
  { allowance: { terminal: _, ...had }, outputCaps }: Pick<Granted, 'allowance' | 'outputCaps'>,
  supplied: Supplied,
  owner: OwnersLimits,
): boolean {
  const { allowance, caps } = settle(supplied, owner);
  const { stdout, stderr } = outputCaps;
  return isDeepStrictEqual(had, allowance) && isDeepStrictEqual({ stdout, stderr }, caps);
}

// Who may type is whoever has the key that was submitted, and nobody says otherwise to it.
function terminalOf(
  { ticket, document, belongings, submitted, verifiedAt }: Supplied,
  { stdout }: OutputCaps,
): RunTerminal | undefined {
  const { terminal: wish } = ticket.grant;
  const { terminal: ends } = belongings;
  if (wish === undefined || ends === undefined) return undefined;
  const { terminal: rules = {} } = document.policy;
  const { columns, rows, type } = wish;
  const recorder = new Recorder({
    size: { columns, rows },
    type,
    at: verifiedAt,
    maxBytes: recordingBytes(stdout),
    recordsInput: rules.record_input === true,
  });
  const run = terminalRun(submitted.claimed?.nonce, submitted.contractSha256);
  const key = Buffer.from(wish.input_key, 'base64');
  return {
    ends,
    recorder,
    type,
    input: new TerminalInput({ key, run, ...inputBounds(rules) }, ends, recorder),
  };
}

/**
 * The host's config is the most, and the owner's policy and the ticket can only take away from it. A gate that was taken
 * over can therefore starve a run, and never feed it. Pure.
 * @param limits the ticket's
 */
export function allowanceOf(
  { policy }: PolicyDocument,
  limits: Limits,
  { secrets, user }: Pick<Belongings, 'secrets' | 'user'>,
  { runLimits, ceiling }: Pick<OwnersLimits, 'runLimits'> & { readonly ceiling: HostCeiling },
): Allowance {
  return {
    policy,
    limits: narrowLimits(narrowLimits(runLimits, policy.limits ?? {}), limits),
    secrets,
    ...(user === undefined ? {} : { user }),
    pathRoots: ceiling.pathRoots,
    unixSockets: ceiling.unixSockets,
    inlineCode: ceiling.inlineCode,
    egressHosts: [policy.allowed_egress_hosts, ceiling.egressHosts, ...(ceiling.egressAlso ?? [])],
  };
}

/**
 * What a host keeps where nobody asks is less than the most that it keeps: a submitter may ask for up to what the policy
 * and the ceiling both say, and where either says nothing, that is no more than what comes unasked. Pure.
 * @param limits the ticket's, which only narrow
 */
function outputCapsOf(
  { policy: { limits: policy = {} } }: PolicyDocument,
  limits: Limits,
  wish: OutputWish,
  { outputCaps, ceiling }: Pick<OwnersLimits, 'outputCaps'> & { readonly ceiling: HostCeiling },
): OutputCaps {
  const cap = (unasked: number, name: keyof OutputWish, most: number | undefined): number =>
    Math.min(
      wish[name] ?? unasked,
      policy[name] ?? unasked,
      most ?? unasked,
      limits[name] ?? Number.POSITIVE_INFINITY,
    );
  return {
    stdout: cap(outputCaps.stdout, 'stdout_bytes', ceiling.stdoutBytes),
    stderr: cap(outputCaps.stderr, 'stderr_bytes', ceiling.stderrBytes),
  };
}
