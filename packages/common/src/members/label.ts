import * as z from 'zod';

/** How many labels an executor may have, or be asked to have. */
export const maxLabels = 64;

/** The name of a label of an executor. */
export const labelName = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/,
    'must be 1 to 63 letters, digits, ".", "_", "/" and "-", the first and the last a letter or a digit',
  );

// U+FFFD stands for bytes that were not UTF-8.
/** Its value: at most 255 UTF-16 units, without control characters; perhaps empty. */
export const labelValue = z
  .string()
  .max(255, 'must have at most 255 characters')
  .regex(/^[^\p{Cc}\ufffd]*$/u, 'must be UTF-8 without control characters');
