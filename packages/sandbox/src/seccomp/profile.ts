import { parseStrictJson } from '@csc-fleet/common/encoding';
import type { Fault } from '@csc-fleet/common/errors';
import { type Parsed, parsed } from '@csc-fleet/common/errors';
import { validate } from '@csc-fleet/common/schema';
import * as z from 'zod';
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

// Made where an owner has a profile of their own: no other start reads one.
function toSchema() {
  // errno(3): the kernel takes up to 4095. By 0 a call says that it was done, and was not.
  const errno = z.int().min(0).max(4095);
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

  return z.strictObject({
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
}

/**
 * A system call filter in the terms of the OCI runtime specification (config-linux.md, "Seccomp"). Where several entries
 * name a call, the first whose args all match decides; where none does, the default.
 */
export type SeccompProfile = z.infer<ReturnType<typeof toSchema>>;
export type SeccompEntry = SeccompProfile['syscalls'][number];
export type SeccompArgument = SeccompEntry['args'][number];

const maxProfileBytes = 1024 * 1024;

/** Reads a profile from JSON. Gives every fault at once, each with its member. */
export function parseSeccompProfile(bytes: Uint8Array): Parsed<SeccompProfile> {
  const json = parseStrictJson(bytes, { maxBytes: maxProfileBytes });
  const profile = json.ok ? validate(toSchema(), json.value) : json;
  if (!profile.ok) return profile;
  const faults = findProfileFaults(profile.value);
  return faults.length === 0 ? parsed(profile.value) : { ok: false, faults };
}

/**
 * What a profile says that would do nothing, or something else than in a container engine. A filter that silently lets
 * through what its author believes to be denied is worse than none, so each of these is refused.
 */
function findProfileFaults(profile: SeccompProfile): Fault[] {
  return [
    ...findErrnoFaults(profile.defaultAction, profile.defaultErrnoRet, 'defaultErrnoRet'),
    ...profile.syscalls.flatMap((entry, index) => findEntryFaults(entry, `syscalls[${index}]`)),
    ...findUnreachable(profile),
  ];
}

function findEntryFaults({ action, errnoRet, args }: SeccompEntry, path: string): Fault[] {
  return [
    ...findErrnoFaults(action, errnoRet, `${path}.errnoRet`),
    ...args.flatMap((argument, index) => findArgumentFaults(argument, `${path}.args[${index}]`)),
    ...args.flatMap(({ index }, at) =>
      args.findIndex((other) => other.index === index) === at
        ? []
        : [{ path: `${path}.args[${at}].index`, message: repeatedArgument }],
    ),
  ];
}

// runc adds a rule for each of them, so that one match suffices; here and in libseccomp all must match.
const repeatedArgument =
  'is the argument of an earlier condition: write an entry for each, as container engines read two of them as "or"';

function findErrnoFaults(action: SeccompEntry['action'], errno: number | undefined, path: string): Fault[] {
  if (errno === undefined || action === 'SCMP_ACT_ERRNO') return [];
  return [{ path, message: `has no meaning with ${action}: leave it out` }];
}

function findArgumentFaults({ op, value, valueTwo }: SeccompArgument, path: string): Fault[] {
  if (op !== 'SCMP_CMP_MASKED_EQ') {
    return valueTwo === 0
      ? []
      : [{ path: `${path}.valueTwo`, message: `has no meaning with ${op}: leave it out` }];
  }
  if (value === 0) return [{ path: `${path}.value`, message: 'is the mask, and one of 0 looks at nothing' }];
  if ((BigInt(valueTwo) & ~BigInt(value)) === 0n) return [];
  return [{ path: `${path}.valueTwo`, message: 'has bits outside the mask (value), so it never matches' }];
}

function findUnreachable({ syscalls }: SeccompProfile): Fault[] {
  const decided = new Map<string, number>();
  return syscalls.flatMap(({ names, args }, index) =>
    names.flatMap((name, at) => {
      const earlier = decided.get(name);
      if (earlier === undefined && args.length === 0) decided.set(name, index);
      return earlier === undefined
        ? []
        : [
            {
              path: `syscalls[${index}].names[${at}]`,
              message: `is decided by syscalls[${earlier}] whatever its arguments are: put this entry before it`,
            },
          ];
    }),
  );
}
