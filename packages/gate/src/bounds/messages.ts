import { artifactBytes } from '@csc-fleet/common/encoding';
import { EndedBy, ExecutionState } from '@csc-fleet/common/messages';
import { maxTokenLength } from '@csc-fleet/common/oidc';
import { maxTerminalSide } from '@csc-fleet/common/schema';
import { maxFrameInput, maxFramesAtOnce, maxInputAtOnce } from '@csc-fleet/common/terminal';
import * as z from 'zod';
import { type Bounds, when } from './check-bounds.ts';
import { bytes, commandId, duration, id, labels, line, list, stream, text, time, whole } from './members.ts';

const size = () => z.object({ columns: whole(1, maxTerminalSide), rows: whole(1, maxTerminalSide) });

const frame = () =>
  z.object({
    sequence: whole(1),
    kind: z.discriminatedUnion('$case', [
      z.object({ $case: z.literal('input'), value: bytes(maxFrameInput) }),
      z.object({ $case: z.literal('resize'), value: size() }),
    ]),
    signature: bytes(64),
  });

const frames = () =>
  list(frame(), maxFramesAtOnce).refine(
    (all) => inputBytes(all) <= maxInputAtOnce,
    `must type at most ${maxInputAtOnce} bytes at a time`,
  );

function inputBytes(all: readonly z.infer<ReturnType<typeof frame>>[]): number {
  return all.reduce((sum, { kind }) => sum + (kind.$case === 'input' ? kind.value.length : 0), 0);
}

// As terminalMember has it; the key goes into a ticket.
const terminal = () =>
  z.object({
    size: size(),
    type: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/, 'must be the name of a terminal'),
    inputKey: z.instanceof(Uint8Array).refine(({ length }) => length === 32, 'must have 32 bytes'),
  });

const submit = () =>
  z.object({
    idempotencyKey: text(256),
    selector: labels,
    policyProfile: text(256),
    approvalsJson: list(bytes(artifactBytes.approval), 16),
    options: z
      .object({ receiptVersion: line(64), queueTimeout: duration, terminal: terminal().optional() })
      .optional(),
    submissionJson: bytes(artifactBytes.submission),
    submissionToken: text(maxTokenLength).optional(),
  });

const proving = () =>
  z.object({
    executionIds: list(id, 64),
    oldSize: whole(0),
    witnesses: whole(0, 64),
    nameUnknown: z.boolean(),
  });

const state = () => whole(ExecutionState.AWAITING_APPROVAL, ExecutionState.LOST);

/**
 * What every member of a request may be, by method of csc.gate.v1.Gate, Fleet and Approvals; the contract has rules of
 * its own. A text is counted in UTF-16 units.
 */
export const requestBounds = {
  submit: when(submit),
  run: when(() => z.object({ submit: submit().optional(), prove: proving().optional() })),
  bind: when(() => z.object({ executionId: id, submissionJson: bytes(artifactBytes.submission) })),
  check: when(() => z.object({ policyProfile: text(256), terminal: z.boolean() })),
  watch: when(() => z.object({ executionId: id, fromSequence: whole(0), prove: proving().optional() })),
  // A contract has at most 20 commands, of four streams each.
  readOutput: when(() =>
    z.object({
      executionId: id,
      from: list(z.object({ commandId, stream, offset: whole(0) }), 80),
      offset: whole(0).optional(),
      stream: stream.optional(),
      since: time,
      sinceAge: duration,
    }),
  ),
  cancel: when(() => z.object({ executionId: id, gracePeriod: duration })),
  sendInput: when(() => z.object({ executionId: id, frames: frames() })),
  getExecution: when(() => z.object({ executionId: id })),
  // More than 1000 a page are as good as 1000.
  listExecutions: when(() =>
    z.object({
      states: list(state(), 20),
      pageSize: whole(0),
      pageToken: text(64),
      allPrincipals: z.boolean(),
    }),
  ),
  listProfiles: when(() => z.object({})),
  getStatus: when(() => z.object({})),
  getReceipt: when(() => z.object({ executionId: id, prove: proving().optional() })),
  getKeys: when(() => z.object({ keyIds: list(text(200), 100) })),
  proveReceipts: when(() => proving()),
  readLogTile: when(() =>
    z.object({ path: z.string().regex(/^(checkpoint|tile\/[\w./]{1,64})$/, 'must be that of a tile') }),
  ),
  approvalsList: when(() => z.object({ pageSize: whole(0), pageToken: text(64) })),
  approvalsWatch: when(() => z.object({})),
  approvalsGet: when(() => z.object({ executionId: id })),
  approvalsReview: when(() => z.object({ executionId: id, artifactJson: bytes(artifactBytes.approval) })),
  resolve: when(() =>
    z.object({ executionId: id, resolutionsJson: list(bytes(artifactBytes.resolution), 16) }),
  ),
} as const satisfies Record<string, Bounds>;

/** The same for csc.link.v1's ProveOwnReceiptsRequest. */
export const proveOwnBounds = when(() =>
  z.object({ executionIds: list(id, 64), oldSize: whole(0), witnesses: whole(0, 64) }),
);

/** The same for csc.gate.v1.Fleet's AuditRequest. */
export const auditBounds = when(() =>
  z.object({
    fromSequence: whole(0),
    principal: line(512),
    executorId: line(128),
    policyProfile: text(256),
    outcome: line(64),
    since: time,
    until: time,
  }),
);

const sha256 = () => z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hex');
const taggedSha256 = () =>
  z.string().regex(/^(sha256:[0-9a-f]{64})?$/, 'must be "sha256:" and 64 hex digits');

const output = () => z.object({ commandId, stream, length: whole(0), sha256: taggedSha256() });

const result = () =>
  z.object({
    commandId,
    endedBy: whole(EndedBy.UNSPECIFIED, EndedBy.REFUSED),
    exitCode: whole(-255, 255).optional(),
    signal: z.string().regex(/^[A-Z0-9+-]{0,32}$/, 'must be the name of a signal'),
    startedAt: time,
    endedAt: time,
    outputs: list(output(), 4),
    error: text(65_536),
  });

/** What every member of an executor's message may be, by case of ConnectRequest. */
export const linkBounds = {
  // The receipt key has rules of its own: see ExecutorKeys.
  hello: when(() =>
    z.object({
      labels,
      slots: whole(0, 1024),
      version: line(64),
      receiptKeyStatementJson: bytes(8192),
      policySha256s: list(sha256(), 1000),
      executionMode: z.enum(['hardened', 'local']),
      executionIds: list(id, 10_000),
      receiptlessIds: list(id, 10_000),
      epoch: z.string().regex(/^([0-9a-f]{32})?$/, 'must be 16 random bytes in lower-case hex'),
      chainHeadJson: bytes(8192),
      policies: list(z.object({ name: line(256), sha256: sha256() }), 1000),
      sandbox: list(line(200), 32),
      sentAt: z.date('must be a time').optional(),
      shortage: line(512),
      confirms: z.boolean().optional(),
      takesTokens: z.boolean().optional(),
    }),
  ),
  draining: when(() => z.object({})),
  accepted: when(() => z.object({ executionId: id, notes: list(text(4000), 64) })),
  refused: when(() =>
    z.object({
      executionId: id,
      reason: z.string().regex(/^[A-Z_]{1,64}$/, 'must be a reason of docs/errors.md'),
      message: text(65_536),
      receiptJson: bytes(artifactBytes.receipt),
      originalJson: bytes(artifactBytes.receipt),
    }),
  ),
  commandStarted: when(() => z.object({ executionId: id, commandId, index: whole(0, 19) })),
  exited: when(() => z.object({ executionId: id, result: result().optional() })),
  receipt: when(() =>
    z.object({
      executionId: id,
      receiptJson: bytes(artifactBytes.receipt),
      originalJson: bytes(artifactBytes.receipt),
      outputLogLength: whole(0),
      signedLogLength: whole(0).optional(),
    }),
  ),
  terminalTaken: when(() => z.object({ executionId: id, sequence: whole(0), ended: text(1000) })),
  heartbeat: when(() =>
    z.object({
      running: whole(0, 1_000_000),
      chainHeadJson: bytes(8192),
      wouldRefuse: whole(0, 2 ** 32 - 1),
      sentAt: z.date('must be a time').optional(),
      shortage: line(512),
    }),
  ),
} as const satisfies Record<string, Bounds>;

/** The same for PushOutputRequest; what is in its frames is for the output log to judge. */
export const pushOutputBounds = when(() => z.object({ executionId: id, logOffset: whole(0) }));
