import { artifactBytes } from '@csc-fleet/common/encoding';
import { EndedBy } from '@csc-fleet/common/messages';
import * as z from 'zod';
import { bytes, commandId, id, labels, line, list, stream, text, time, whole } from './members.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hex');
const taggedSha256 = z.string().regex(/^(sha256:[0-9a-f]{64})?$/, 'must be "sha256:" and 64 hex digits');

const output = z.object({ commandId, stream, length: whole(0), sha256: taggedSha256 });

const result = z.object({
  commandId,
  endedBy: whole(EndedBy.UNSPECIFIED, EndedBy.REFUSED),
  exitCode: whole(-255, 255).optional(),
  signal: z.string().regex(/^[A-Z0-9+-]{0,32}$/, 'must be the name of a signal'),
  startedAt: time,
  endedAt: time,
  outputs: list(output, 3),
  error: text(65_536),
});

/** What every member of an executor's message may be, by case of ConnectRequest. */
export const linkBounds = {
  // The receipt key has rules of its own: see ExecutorKeys.
  hello: z.object({
    labels,
    slots: whole(0, 1024),
    version: line(64),
    receiptKeyStatementJson: bytes(8192),
    policySha256s: list(sha256, 1000),
    executionMode: z.enum(['hardened', 'local']),
    executionIds: list(id, 10_000),
  }),
  accepted: z.object({ executionId: id, notes: list(text(4000), 64) }),
  refused: z.object({
    executionId: id,
    reason: z.string().regex(/^[A-Z_]{1,64}$/, 'must be a reason of docs/errors.md'),
    message: text(65_536),
    receiptJson: bytes(artifactBytes.receipt),
  }),
  commandStarted: z.object({ executionId: id, commandId, index: whole(0, 19) }),
  exited: z.object({ executionId: id, result: result.optional() }),
  receipt: z.object({
    executionId: id,
    receiptJson: bytes(artifactBytes.receipt),
    outputLogLength: whole(0),
  }),
  heartbeat: z.object({ running: whole(0, 1_000_000) }),
} as const satisfies Record<string, z.ZodType>;

/** The same for PushOutputRequest; what is in its frames is for the output log to judge. */
export const pushOutputBounds = z.object({ executionId: id, logOffset: whole(0) });
