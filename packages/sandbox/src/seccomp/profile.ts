import { parseStrictJson } from '@csc-fleet/common/encoding';
import { type Parsed, parsed } from '@csc-fleet/common/errors';
import { validate } from '@csc-fleet/common/schema';
import * as z from 'zod';
import { checkProfile } from './profile-checks.ts';
import { isSystemCall } from './system-calls.ts';

const actions = [
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_LOG',
] as const;

const operators = [
  'SCMP_CMP_EQ',
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_GT',
  'SCMP_CMP_GE',
  'SCMP_CMP_MASKED_EQ',
] as const;

// errno(3): the kernel takes up to 4095.
const errno = z.int().min(1).max(4095);
const value = z.int().min(0);

const argument = z.strictObject({
  index: z.int().min(0).max(5),
  op: z.enum(operators),
  /** With MASKED_EQ: the mask. */
  value,
  /** With MASKED_EQ: what the masked argument must be. */
  valueTwo: value.default(0),
});

const entry = z.strictObject({
  comment: z.string().optional(),
  names: z
    .array(z.string().refine(isSystemCall, { error: 'is not a system call of x86_64 or aarch64' }))
    .min(1),
  action: z.enum(actions),
  errnoRet: errno.optional(),
  /** All must match. */
  args: z.array(argument).max(6).default([]),
});

const schema = z.strictObject({
  comment: z.string().optional(),
  // Any other would make a filter under which nothing starts, or one that only watches.
  defaultAction: z.enum(['SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO']),
  defaultErrnoRet: errno.optional(),
  /** Absent: both. Every other architecture is killed, whatever is said here. */
  architectures: z
    .array(z.enum(['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64']))
    .min(1)
    .optional(),
  syscalls: z.array(entry),
});

/**
 * A system call filter in the terms of the OCI runtime specification (config-linux.md, "Seccomp"). Where several entries
 * name a call, the first whose args all match decides; where none does, the default.
 */
export type SeccompProfile = z.infer<typeof schema>;
export type SeccompEntry = SeccompProfile['syscalls'][number];
export type SeccompArgument = SeccompEntry['args'][number];

const maxProfileBytes = 1024 * 1024;

/** Reads a profile from JSON. Gives every fault at once, each with its member. */
export function parseSeccompProfile(bytes: Uint8Array): Parsed<SeccompProfile> {
  const json = parseStrictJson(bytes, { maxBytes: maxProfileBytes });
  const profile = json.ok ? validate(schema, json.value) : json;
  if (!profile.ok) return profile;
  const faults = checkProfile(profile.value);
  return faults.length === 0 ? parsed(profile.value) : { ok: false, faults };
}
