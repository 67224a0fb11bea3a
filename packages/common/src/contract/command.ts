import * as z from 'zod';
import { declaredPath, integer, name, nonEmptyText, oneOf } from '../schema/index.ts';

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

/** How much of the network a command asks for, least first. */
export const networkModes = ['deny', 'allowlisted', 'full'] as const;

/** What a command says it does. */
export const effectTypes = [
  'observe',
  'transform_local',
  'fetch_external',
  'mutate_repo',
  'deploy',
  'touch_secrets',
] as const;

const exec = z
  .strictObject({ argv: argvSchema })
  .meta({ id: 'Exec', description: 'One program and its arguments; no shell reads them.' });

const pipeline = z
  .strictObject({ segments: z.array(exec).min(2).max(10) })
  .meta({ id: 'Pipeline', description: 'Programs joined by OS pipes, stdout to stdin, in this order.' });

const exactlyOneForm = {
  oneOf: [
    { required: ['exec'], properties: { exec: { type: 'object' }, pipeline: { type: 'null' } } },
    { required: ['pipeline'], properties: { pipeline: { type: 'object' }, exec: { type: 'null' } } },
  ],
};

/** One command of a contract: exactly one of exec and pipeline, and what it may touch. */
export const commandSchema = z
  .strictObject({
    id: nonEmptyText.meta({ minLength: 1, description: 'Unique in the contract.' }),
    exec: exec.exactOptional(),
    pipeline: pipeline.exactOptional(),
    cwd: declaredPath,
    read_paths: z.array(declaredPath),
    write_paths: z.array(declaredPath),
    network: oneOf(networkModes),
    env_allow: z
      .array(name)
      .meta({ description: 'Names of environment variables that the command may have.' }),
    secret_refs: z.array(name).meta({ description: 'Names of secrets that the command asks for.' }),
    timeout_sec: integer({ min: 1, max: 86_400 }),
    proposed_effect_type: oneOf(effectTypes),
  })
  .superRefine(refineForm, { when: () => true })
  .meta({ id: 'Command', ...exactlyOneForm });

// Runs beside the members' own faults, so that all come at once; the value may be anything.
function refineForm(command: unknown, context: z.core.$RefinementCtx): void {
  if (typeof command !== 'object' || command === null || Array.isArray(command)) return;
  const both = 'exec' in command && 'pipeline' in command;
  const neither = !('exec' in command) && !('pipeline' in command);
  if (both || neither)
    context.addIssue({ code: 'custom', message: 'must have exactly one of exec and pipeline' });
}
