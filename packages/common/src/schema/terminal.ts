import * as z from 'zod';
import { integer } from './values.ts';

/** The largest terminal, either way: no screen has more, and a program may set aside memory for all of it. */
export const maxTerminalSide = 1000;

const side = integer({ min: 1, max: maxTerminalSide });

/** A terminal that is asked for, in a submission's options and in a ticket's grant. */
export const terminalMember = z
  .strictObject({
    columns: side,
    rows: side,
    type: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/, 'must be the name of a terminal, such as xterm-256color')
      .meta({ description: 'TERM: what stands in front of the user (terminfo(5)).' }),
    input_key: z
      .string()
      .regex(/^[A-Za-z0-9+/]{43}=$/, 'must be base64 of 32 bytes')
      .meta({
        description:
          'The Ed25519 public key that what is typed is signed with, made for this run alone: no gate has its private half.',
      }),
  })
  .meta({ id: 'Terminal', description: 'Run it on a terminal; its one command is the one that has it.' });

/** What a terminal is, and who may type into it. */
export type TerminalWish = z.infer<typeof terminalMember>;

/** The rules of a policy for the terminals that it grants. */
export const terminalRules = z.strictObject({
  input_bytes: integer({ min: 0, max: 1_000_000_000 }).exactOptional().meta({
    description: 'Bytes that may be typed in one run; absent: 10 MB.',
  }),
  input_bytes_per_sec: integer({ min: 1, max: 1_000_000 }).exactOptional().meta({
    description: 'Bytes that may be typed in a second, over time; absent: 20,000.',
  }),
  record_input: z.boolean().exactOptional().meta({
    description:
      'Whether the recording has what is typed, too, passwords that are never shown among it. Absent: it has not.',
  }),
});

export type TerminalRules = z.infer<typeof terminalRules>;
