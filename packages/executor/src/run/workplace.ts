import type { Command } from '@csc-fleet/common/contract';

import type { Policy } from '@csc-fleet/common/policy';
import type { LaunchedProcess, LocalPlace, SandboxPlace } from '@csc-fleet/sandbox/launch';
import type { Executable, MadePaths, NotRunnable } from '@csc-fleet/sandbox/plan';
import type { Allowance } from '../admission/grant.ts';
import type { ExecutionMode, RecordedPlace } from '../evidence/index.ts';

/** Makes the place that a command runs in: a sandbox on this host, or the host itself. */
export interface Workplace {
  readonly mode: ExecutionMode;
  /** What every submitter should know of it. */
  readonly notes: readonly string[];
  /**
   * Gathers the host's facts for a command and plans. Makes nothing. Throws a CscError that names the path that stands in
   * the way.
   */
  furnish(command: Command, allowance: Allowance): Place;
  /**
   * Makes what a place lacks of the command's write paths. What it makes stays on the host, so only once the ticket is
   * redeemed: a refusal leaves nothing. Throws as `furnish`.
   */
  makeMissing(command: Command, allowance: Allowance): Pick<MadePaths, 'takeBackUnwritten'>;
}

/** Where one command runs. Its owner closes it once nothing runs there. */
export interface Place extends RecordedPlace {
  readonly launchIn: SandboxPlace | LocalPlace;
  /** What a program's name stands for in there. Absent where nobody knows before it runs. */
  readonly findProgram?: (program: string) => Executable | NotRunnable;
  /** Of all that is written below them. Absent: it is not limited. */
  readonly mostWritten?: { readonly bytes: number; readonly files: number };
  /** For people: what was dropped, is missing or was expanded, and why. */
  readonly notes: readonly string[];
  /** For people: declared paths that the job user certainly may not write or read, by owner and mode. */
  readonly closed: readonly string[];
  /** What may be why a command fails there, for people, where it does. */
  readonly hints: readonly string[];
  /** Write paths that are still to be made: nothing is launched here, but in a place that is furnished after that. */
  readonly missing: readonly string[];
  /** Says what was launched there, at once. */
  launched?(process: LaunchedProcess): void;
  /** Resolves once it is built, and no other one is being built where this command could get in its way. No: not at all. */
  mayStart?(): Promise<boolean>;
  close(): void;
}

/** Values by the names that a contract's env_allow may use. */
export type Environment = Readonly<Record<string, string>>;

/** The umask that a policy sets, whose digits are octal; undefined: the usual one. */
export function umaskOf({ umask }: Pick<Policy, 'umask'>): number | undefined {
  return umask === undefined ? undefined : Number.parseInt(umask, 8);
}

/** Of an environment, the variables of these names that it has. */
export function pickVariables(environment: Environment, names: readonly string[]): Environment {
  return Object.fromEntries(
    names.flatMap((name) => (Object.hasOwn(environment, name) ? [[name, environment[name] ?? '']] : [])),
  );
}
