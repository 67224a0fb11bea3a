import * as z from 'zod';

// execve(2): MAX_ARG_STRLEN is 131,072 bytes on Linux.
const maxBytes = 131_072;

const argument = z
  .string()
  .refine((text) => text !== '', { error: 'must not be empty' })
  .refine((text) => !text.includes('\0'), { error: 'must not hold a NUL character' })
  .refine((text) => text.length <= maxBytes / 3 || Buffer.byteLength(text, 'utf8') <= maxBytes, {
    error: `must be at most ${maxBytes} bytes of UTF-8`,
  })
  .meta({ minLength: 1, maxLength: maxBytes, pattern: '^[^\\u0000]*$' });

/** A program and its arguments, as execve(2) takes them. */
export const argvSchema = z.array(argument).min(1).max(200);
