/** The gRPC status names that reasons map to, in the order of docs/errors.md. */
export const rpcStatusNames = [
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'INVALID_ARGUMENT',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'RESOURCE_EXHAUSTED',
  'UNAVAILABLE',
  'NOT_FOUND',
  'OUT_OF_RANGE',
  'INTERNAL',
] as const;

export type RpcStatusName = (typeof rpcStatusNames)[number];

/** What is known of a reason. The last two are Markdown, for docs/errors.md. */
export interface ReasonFacts {
  readonly status: RpcStatusName;
  /** Whose state or deed it is, and so who can mend it. */
  readonly about: readonly ('caller' | 'contract' | 'gate' | 'host')[];
  /**
   * Whether the same may succeed if nobody mends anything: `later`, as it stands; `ticket`, under a new ticket, which
   * the gate mints by itself; `elsewhere`, on another host, where the gate places it by itself while there is one; or
   * `no`. Only with `no` does a host sign its refusal, and use the submission up.
   */
  readonly retry: 'later' | 'ticket' | 'elsewhere' | 'no';
  readonly means: string;
  readonly remedy: string;
}

/**
 * The reasons that cross the wire in google.rpc.ErrorInfo (domain `csc`) and in an executor's refusals, and all that
 * is known of each: docs/errors.md and what retries, requeues and signs are derived from it. Closed; names are stable.
 */
export const reasons = {
  NO_CREDENTIALS: {
    status: 'UNAUTHENTICATED',
    about: ['caller'],
    retry: 'no',
    means: 'no client certificate came with the call',
    remedy: 'give the client its certificate and key',
  },
  CREDENTIALS_INVALID: {
    status: 'UNAUTHENTICATED',
    about: ['caller'],
    retry: 'no',
    means: 'the certificate names no identity, or one of another role',
    remedy: 'issue a certificate for this role: `csc pki issue`',
  },
  JOIN_REFUSED: {
    status: 'UNAUTHENTICATED',
    about: ['caller'],
    retry: 'no',
    means:
      'the fleet’s CA does not take the join token: it has ended, was used with other keys, or is none of its own; or it renews the certificate no more, as another has taken its place',
    remedy: 'make a new token where the CA runs: `csc ca token`',
  },
  TICKET_INVALID: {
    status: 'UNAUTHENTICATED',
    about: ['gate', 'host'],
    retry: 'no',
    means: 'the ticket was not signed by a gate that this host trusts, or is malformed',
    remedy: "check that host's `trusted_gate_keys`; the gate places it elsewhere where it can",
  },
  TICKET_EXPIRED: {
    status: 'UNAUTHENTICATED',
    about: ['gate', 'host'],
    retry: 'ticket',
    means:
      "the ticket was too old when it reached the host, or had not begun by its clock, or is older than what the host's journal remembers (a new state directory); without a receipt, the gate mints a new one by itself",
    remedy: 'check the clocks; submit again',
  },
  SUBMISSION_INVALID: {
    status: 'UNAUTHENTICATED',
    about: ['caller'],
    retry: 'no',
    means:
      'the submission is missing where the host asks for one, is malformed, or is not signed with a key that `bindings.yaml` names for its principal',
    remedy: 'sign with the key that the owners have bound to you (`csc login`); ask them to add it',
  },
  SUBMISSION_EXPIRED: {
    status: 'UNAUTHENTICATED',
    about: ['caller', 'host'],
    retry: 'no',
    means: 'the submission was too old when it reached gate or host',
    remedy: 'submit again; check the clocks',
  },
  TERMINAL_UNAVAILABLE: {
    status: 'FAILED_PRECONDITION',
    about: ['caller', 'host'],
    retry: 'later',
    means:
      'nothing can be typed into this execution: it has no terminal, or its executor is away or has not begun it',
    remedy:
      'ask for a terminal when you submit (`csc submit --tty`); where the executor is away, wait for it',
  },
  NOT_PERMITTED: {
    status: 'PERMISSION_DENIED',
    about: ['caller', 'contract'],
    retry: 'no',
    means:
      "no policy is bound to this identity, or not the one it asked for; or the host's own copy of the policy denies",
    remedy: 'ask the owner for a binding; compare the policies of gate and host',
  },
  HOST_CEILING_EXCEEDED: {
    status: 'PERMISSION_DENIED',
    about: ['contract', 'host'],
    retry: 'no',
    means: 'the contract asks for what this host never grants',
    remedy:
      'ask for less, or select a host whose owner grants more (`ceiling` in its config); `csc run` grants no network, no secrets and, without --allow-inline-code, no code in argv',
  },
  TICKET_REVOKED: {
    status: 'PERMISSION_DENIED',
    about: ['gate'],
    retry: 'ticket',
    means: 'the offer was withdrawn before it was redeemed, as it was not answered in time',
    remedy: 'nothing: the gate places it elsewhere',
  },
  WRONG_AUDIENCE: {
    status: 'PERMISSION_DENIED',
    about: ['gate'],
    retry: 'no',
    means: 'the ticket is for another host',
    remedy: 'report it: a gate does not send this by itself',
  },
  CONTRACT_INVALID: {
    status: 'INVALID_ARGUMENT',
    about: ['contract'],
    retry: 'no',
    means: 'the contract breaks the protocol; every fault is listed with its member',
    remedy: 'mend the members named',
  },
  CONTRACT_HASH_MISMATCH: {
    status: 'INVALID_ARGUMENT',
    about: ['gate'],
    retry: 'no',
    means: 'the contract is not the one that the ticket is for',
    remedy: 'report it: a gate does not send this by itself',
  },
  REQUEST_INVALID: {
    status: 'INVALID_ARGUMENT',
    about: ['caller'],
    retry: 'no',
    means:
      'a member of the request other than the contract is malformed or over its bound; BadRequest names it',
    remedy: 'mend the member named',
  },
  SUBMISSION_REPLAYED: {
    status: 'ALREADY_EXISTS',
    about: ['gate', 'caller'],
    retry: 'no',
    means:
      'the submission was used on this host before, whatever came of it, or is older than the journal of this host, which cannot know',
    remedy:
      'look at `csc list`: what ran has its receipt there; where it has not run, submit again, which makes a new submission',
  },
  TICKET_REPLAYED: {
    status: 'ALREADY_EXISTS',
    about: ['gate'],
    retry: 'no',
    means: 'the ticket has been redeemed before',
    remedy: 'nothing: it ran once, and has its receipt',
  },
  IDEMPOTENCY_CONFLICT: {
    status: 'ALREADY_EXISTS',
    about: ['caller'],
    retry: 'no',
    means: 'the idempotency key belongs to another contract',
    remedy: 'use a new key for a new contract',
  },
  APPROVAL_INVALID: {
    status: 'FAILED_PRECONDITION',
    about: ['contract'],
    retry: 'no',
    means:
      'an approval does not match, has expired, was used up, or is not accepted here; or the contract asks for the consent of two people (BadRequest names `approval_mode`)',
    remedy:
      'get a new approval for this contract_sha256; ask for `human_required`, or the owners of gate and host for `dual_control: one_approval`',
  },
  RESOLUTION_INVALID: {
    status: 'FAILED_PRECONDITION',
    about: ['caller'],
    retry: 'no',
    means:
      'the word that is to end an execution is not signed by enough of the owners, is of another execution, or is too old; or this execution is not one that only they can end',
    remedy:
      'sign with the keys that sign the files of the policy repository (`csc admin resolve`); what waits, or runs on a host that is there, is for `csc cancel`',
  },
  SANDBOX_UNAVAILABLE: {
    status: 'FAILED_PRECONDITION',
    about: ['host'],
    retry: 'elsewhere',
    means:
      'the host cannot build the sandbox, or lacks descriptors, memory, processes or anything else of its own that the run needs',
    remedy: 'run `csc doctor` there; it says what to do. The gate places it elsewhere where it can',
  },
  OUTPUT_TRIMMED: {
    status: 'OUT_OF_RANGE',
    about: ['gate'],
    retry: 'no',
    means:
      'the output is gone: it was kept as long as the gate keeps any (retention); it names the first offsets that are kept, and also ends a reading that is under way then',
    remedy: 'count on the receipt, which has its hashes and lengths; read output sooner next time',
  },
  AUDIT_TRIMMED: {
    status: 'OUT_OF_RANGE',
    about: ['caller', 'gate'],
    retry: 'no',
    means: 'the audit records from that number on are not all kept any more',
    remedy:
      'begin with the oldest that is kept (no `--from-sequence`); keep them longer: `retention.receipts_days`',
  },
  NO_MATCHING_EXECUTOR: {
    status: 'FAILED_PRECONDITION',
    about: ['caller', 'host'],
    retry: 'no',
    means: 'no connected executor has these labels and this policy, and it may not wait for one',
    remedy: 'mend the selector, connect one, or wait longer',
  },
  POLICY_STALE: {
    status: 'FAILED_PRECONDITION',
    about: ['host', 'gate'],
    retry: 'later',
    means:
      "the host has not heard from the owners' policy repository for longer than its `max_staleness`, or what it heard has expired",
    remedy:
      'publish the repository again (`csc policy publish`), and see to it that the gate or directory serves it',
  },
  POLICY_UNSIGNED: {
    status: 'FAILED_PRECONDITION',
    about: ['host'],
    retry: 'elsewhere',
    means: 'the host does not hold the policy that the ticket names',
    remedy: "give the host the owner's policy files; the gate places it elsewhere where it can",
  },
  RATE_LIMITED: {
    status: 'RESOURCE_EXHAUSTED',
    about: ['caller'],
    retry: 'later',
    means:
      'too many calls from this identity, too much on its way, a request that was not whole in time, or more stored today than it may',
    remedy:
      'wait as RetryInfo says, which is the next day (UTC) where it is about what is stored; who goes on and on is disconnected for 10 s',
  },
  QUEUE_FULL: {
    status: 'RESOURCE_EXHAUSTED',
    about: ['gate', 'host'],
    retry: 'later',
    means: 'too many executions are waiting',
    remedy: 'wait as RetryInfo says, or add executors',
  },
  SPOOL_FULL: {
    status: 'RESOURCE_EXHAUSTED',
    about: ['host', 'gate'],
    retry: 'later',
    means: 'the host has no room for output, or owes the gate too many receipts; or the gate has no room',
    remedy: 'free space on the host, or in `data_dir` of the gate',
  },
  MESSAGE_TOO_LARGE: {
    status: 'RESOURCE_EXHAUSTED',
    about: ['caller'],
    retry: 'no',
    means: 'the message is over the limit',
    remedy: 'send less',
  },
  DRAINING: {
    status: 'UNAVAILABLE',
    about: ['gate', 'host'],
    retry: 'later',
    means: 'this process is stopping',
    remedy: 'retry as RetryInfo says',
  },
  STORE_UNAVAILABLE: {
    status: 'UNAVAILABLE',
    about: ['gate', 'host'],
    retry: 'later',
    means: 'the durable store takes no writes, as on a full disk: nothing was recorded, reads go on',
    remedy:
      "make room on the disk of the gate's `data_dir`: it goes on by itself; then retry, with the same idempotency key",
  },
  SCOPE_NOT_FOUND: {
    status: 'NOT_FOUND',
    about: ['contract', 'host'],
    retry: 'no',
    means:
      'a path that the contract declares is not there on this host, or the executor or the job user cannot get at it',
    remedy: 'make it, open the directories above it to the job user, or select another host',
  },
  EXECUTION_UNKNOWN: {
    status: 'NOT_FOUND',
    about: ['caller'],
    retry: 'no',
    means: "there is no such execution, or it is another identity's",
    remedy: 'check the id and the identity',
  },
  INTERNAL: {
    status: 'INTERNAL',
    about: ['gate', 'host'],
    retry: 'no',
    means: 'a fault of ours; the text is an id and nothing else',
    remedy: "find the id in the gate's log; of a host, look at the host's",
  },
} as const satisfies Record<string, ReasonFacts>;

/** A reason from the wire's closed registry. */
export type RpcReason = keyof typeof reasons;
