import { artifactBytes } from '@csc-fleet/common/encoding';
import { OutputStream } from '@csc-fleet/common/messages';
import { integer, labelName, labelValue, maxLabels } from '@csc-fleet/common/schema';
import * as z from 'zod';

/** Of a contract, or of one command's id in it. */
const contractBytes = artifactBytes.contract;

/** A text of at most `max` UTF-16 units, of any characters. */
export const text = (max: number) => z.string().max(max, `must have at most ${max} characters`);

/** A text that people read: without control characters, and without what stands for bytes that were not UTF-8. */
export const line = (max: number) =>
  text(max).regex(/^[^\p{Cc}\ufffd]*$/u, 'must be UTF-8 without control characters');

/** The id of an execution or a ticket; a text that is none is unknown, not wrong. */
export const id = text(128).regex(/^[\x20-\x7e]*$/, 'must be of printable ASCII characters');

/** The id of a command: as long as the contract has it. */
export const commandId = text(contractBytes);

/** Bytes of at most `max`. */
export const bytes = (max: number) =>
  z.instanceof(Uint8Array).refine(({ length }) => length <= max, `must have at most ${max} bytes`);

/** An integer from `min` to `max`; ts-proto gives every 64-bit one as a number. */
export const whole = (min: number, max = Number.MAX_SAFE_INTEGER) => integer({ min, max });

export const list = <T extends z.ZodType>(item: T, max: number) => z.array(item).max(max);

// As far as google.protobuf.Duration goes.
const maxSeconds = 315_576_000_000;

/** A google.protobuf.Duration that is not negative. */
export const duration = z.object({ seconds: whole(0, maxSeconds), nanos: whole(0, 999_999_999) }).optional();

// As far as google.protobuf.Timestamp goes. A Date of anything else cannot be written again.
/** A google.protobuf.Timestamp. */
export const time = z
  .date()
  .min(new Date('0001-01-01T00:00:00Z'))
  .max(new Date('9999-12-31T23:59:59.999Z'))
  .optional();

/** A stream of output that there is. */
export const stream = whole(OutputStream.STDOUT, OutputStream.RECORDING);

/** Labels of an executor, or those that a client asks for. */
export const labels = z.record(z.string(), labelValue).superRefine((value, context) => {
  const names = Object.keys(value);
  if (names.length > maxLabels)
    context.addIssue({
      code: 'custom',
      message: `must have at most ${maxLabels} labels, not ${names.length}`,
    });
  // Not as the record's keys, so that the member is named.
  for (const name of names.slice(0, maxLabels)) {
    const [issue] = labelName.safeParse(name).error?.issues ?? [];
    if (issue !== undefined)
      context.addIssue({ code: 'custom', path: [name], message: `as a name ${issue.message}` });
  }
});
