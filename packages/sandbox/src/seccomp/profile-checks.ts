import type { Fault } from '@csc-fleet/common/errors';
import type { SeccompArgument, SeccompEntry, SeccompProfile } from './profile.ts';

/**
 * What a profile says that would do nothing, or something else than in a container engine. A filter that silently lets
 * through what its author believes to be denied is worse than none, so each of these is refused.
 */
export function checkProfile(profile: SeccompProfile): Fault[] {
  return [
    ...checkErrno(profile.defaultAction, profile.defaultErrnoRet, 'defaultErrnoRet'),
    ...profile.syscalls.flatMap((entry, index) => checkEntry(entry, `syscalls[${index}]`)),
    ...checkReach(profile),
  ];
}

function checkEntry({ action, errnoRet, args }: SeccompEntry, path: string): Fault[] {
  return [
    ...checkErrno(action, errnoRet, `${path}.errnoRet`),
    ...args.flatMap((argument, index) => checkArgument(argument, `${path}.args[${index}]`)),
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

function checkErrno(action: SeccompEntry['action'], errno: number | undefined, path: string): Fault[] {
  if (errno === undefined || action === 'SCMP_ACT_ERRNO') return [];
  return [{ path, message: `has no meaning with ${action}: leave it out` }];
}

function checkArgument({ op, value, valueTwo }: SeccompArgument, path: string): Fault[] {
  if (op !== 'SCMP_CMP_MASKED_EQ') {
    return valueTwo === 0
      ? []
      : [{ path: `${path}.valueTwo`, message: `has no meaning with ${op}: leave it out` }];
  }
  if (value === 0) return [{ path: `${path}.value`, message: 'is the mask, and one of 0 looks at nothing' }];
  if ((BigInt(valueTwo) & ~BigInt(value)) === 0n) return [];
  return [{ path: `${path}.valueTwo`, message: 'has bits outside the mask (value), so it never matches' }];
}

function checkReach({ syscalls }: SeccompProfile): Fault[] {
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
