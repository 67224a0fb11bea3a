import { arch } from 'node:process';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, type Fault, formatFaults, orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { assembleProfile } from './assemble.ts';
import defaultProfile from './default-profile.json' with { type: 'json' };
import { parseSeccompProfile, type SeccompEntry, type SeccompProfile } from './profile.ts';
import { proxyProfile } from './proxy-profile.ts';
import type { Architecture } from './system-calls.ts';

/** The system call filter of every command on a host. */
export interface SeccompFilter {
  /** Ours, then the operator's. The kernel runs all of them, and the strictest answer counts. */
  readonly programs: readonly Buffer[];
  /** SHA-256 in hex over all programs, one after the other. */
  readonly sha256: string;
}

/** What a host holds ready. */
export interface SeccompFilters extends SeccompFilter {
  /** The same, with Unix sockets taken away: for a command whose scopes another run has as well. */
  readonly withoutUnixSockets: SeccompFilter;
  /** That of the egress proxy: all of these, and what `proxyProfile` takes away. */
  readonly proxy: SeccompFilter;
}

export interface SeccompOptions {
  /** A further profile, JSON in OCI terms. It can only take away. */
  readonly profileFile?: string;
}

const maxProfileBytes = 1024 * 1024;
const architectures: Readonly<Record<string, Architecture>> = { x64: 'x86_64', arm64: 'aarch64' };
const architectureNames = { x86_64: 'SCMP_ARCH_X86_64', aarch64: 'SCMP_ARCH_AARCH64' } as const;

/** Throws SANDBOX_UNAVAILABLE on another architecture; FILE_UNREADABLE, or CONFIG_INVALID with every fault of the file. */
export function loadSeccomp({ profileFile }: SeccompOptions = {}): SeccompFilters {
  const architecture = architectures[arch];
  if (architecture === undefined)
    throw new CscError(
      'SANDBOX_UNAVAILABLE',
      `there is no system call filter for ${arch}: use x86_64 or aarch64`,
    );
  const ours = assembleProfile(ourProfile(), architecture);
  const programs = profileFile === undefined ? [ours] : [ours, assembleFile(profileFile, architecture)];
  const withoutUnixSockets = toFilter([...programs, assembleProfile(noUnixSockets, architecture)]);
  const proxy = toFilter([...withoutUnixSockets.programs, assembleProfile(proxyProfile, architecture)]);
  return { ...toFilter(programs), withoutUnixSockets, proxy };
}

function toFilter(programs: readonly Buffer[]): SeccompFilter {
  return { programs, sha256: sha256Hex(Buffer.concat(programs)) };
}

/** Our own list. A test holds it against the rules for an operator's; parsing it at every start would take longer. */
export function ourProfile(): SeccompProfile {
  const syscalls = defaultProfile.syscalls.map((entry) => ({
    ...entry,
    args: (entry.args ?? []).map((argument) => ({ valueTwo: 0, ...argument })),
  }));
  return { ...defaultProfile, syscalls } as SeccompProfile;
}

function assembleFile(file: string, architecture: Architecture): Buffer {
  const profile = readProfile(file);
  const name = architectureNames[architecture];
  if (profile.architectures?.includes(name) === false) {
    throw invalid(file, { path: 'architectures', message: `lacks ${name}, which is this host's` });
  }
  try {
    return assembleProfile(profile, architecture);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw invalid(file, { path: 'syscalls', message: `are too many: ${error.message}` });
  }
}

function readProfile(file: string): SeccompProfile {
  const { bytes } = readBoundedFile(file, { maxBytes: maxProfileBytes });
  return orThrow(parseSeccompProfile(bytes), 'CONFIG_INVALID', file);
}

function invalid(file: string, fault: Fault): CscError {
  const faults = [fault];
  return new CscError('CONFIG_INVALID', `${file} was refused:\n${formatFaults(faults)}`, { faults });
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
