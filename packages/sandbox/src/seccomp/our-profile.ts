import defaultProfile from './default-profile.json' with { type: 'json' };
import type { SeccompEntry, SeccompProfile } from './profile.ts';

/** Our own list. A test holds it against the rules for an operator's; parsing it at every start would take longer. */
export function ourProfile(): SeccompProfile {
  const syscalls = defaultProfile.syscalls.map((entry) => ({
    ...entry,
    args: (entry.args ?? []).map((argument) => ({ valueTwo: 0, ...argument })),
  }));
  return { ...defaultProfile, syscalls } as SeccompProfile;
}

// socket(2) and socketpair(2) read 32 bits of each argument, whatever the other half says.
const low32 = 0xffff_ffff;
const isUnix = { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: low32, valueTwo: 1 } as const;
const isOfType = (type: number) =>
  ({ index: 1, op: 'SCMP_CMP_MASKED_EQ', value: 0xf, valueTwo: type }) as const;
const pair = { names: ['socketpair'], action: 'SCMP_ACT_ALLOW' } as const;
const [stream, seqpacket, eacces] = [1, 5, 13];

const syscalls: readonly SeccompEntry[] = [
  { names: ['socket'], action: 'SCMP_ACT_ERRNO', errnoRet: eacces, args: [isUnix] },
  { ...pair, names: [...pair.names], args: [isUnix, isOfType(stream)] },
  { ...pair, names: [...pair.names], args: [isUnix, isOfType(seqpacket)] },
  { names: ['socketpair'], action: 'SCMP_ACT_ERRNO', errnoRet: eacces, args: [isUnix] },
];

/**
 * Takes Unix sockets away that have, or could reach, a name in the file system (unix(7)). Pairs stay: those that are
 * connected for good, and not datagram sockets, which may send to any name.
 */
export const noUnixSockets: SeccompProfile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [...syscalls] };
