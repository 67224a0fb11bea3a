import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, type Fault, formatFaults, orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { assembleProfile } from './assemble.ts';
import { parseSeccompProfile, type SeccompProfile } from './profile.ts';
import built from './programs.json' with { type: 'json' };
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

const { arch } = process;
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
  // As `make generate` assembles them of our-profile.ts and own-profiles.ts: at every start that would take longer than all
  // the rest here.
  const { ours, noUnixSockets, proxyOnly } = decode(built[architecture]);
  const programs = profileFile === undefined ? [ours] : [ours, assembleFile(profileFile, architecture)];
  const withoutUnixSockets = toFilter([...programs, noUnixSockets]);
  const proxy = toFilter([...withoutUnixSockets.programs, proxyOnly]);
  return { ...toFilter(programs), withoutUnixSockets, proxy };
}

function decode({ ours, noUnixSockets, proxyOnly }: (typeof built)['x86_64']) {
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
  return { ours: bytes(ours), noUnixSockets: bytes(noUnixSockets), proxyOnly: bytes(proxyOnly) };
}

/**
 * The program of what a process of ours takes from itself (native/confine), once it runs: "started" of a proxy, "reader"
 * of what looks at files. Undefined on another architecture.
 */
export function ownFilter(name: 'started' | 'reader'): Buffer | undefined {
  const architecture = architectures[arch];
  return architecture === undefined ? undefined : Buffer.from(built[architecture][name], 'base64');
}

function toFilter(programs: readonly Buffer[]): SeccompFilter {
  return { programs, sha256: sha256Hex(Buffer.concat(programs)) };
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
