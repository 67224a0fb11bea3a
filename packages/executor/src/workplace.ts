import { realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import type { Command } from '@csc-fleet/common/contract';
import { isCoveredBy } from '@csc-fleet/common/paths';
import type { Policy } from '@csc-fleet/common/policy';
import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { LocalPlace, SandboxPlace } from './launch/index.ts';
import type { ExecutionMode } from './limits.ts';
import { expandGlob, isGlob, stripTree } from './sandbox/glob.ts';
import {
  describeLocal,
  describeSandbox,
  type HostFacts,
  planSandbox,
  resolveScopes,
  sandboxProfileId,
} from './sandbox/index.ts';

/** Makes the place that a command runs in: a sandbox on this host, or the host itself. */
export interface Workplace {
  readonly mode: ExecutionMode;
  /** What every submitter should know of it. */
  readonly notes: readonly string[];
  /** Gathers the host's facts for a command and plans. Throws a CscError that names the path that stands in the way. */
  furnish(command: Command, policy: Policy): Place;
}

/** Where one command runs. Its owner closes it once nothing runs there. */
export interface Place {
  readonly launchIn: SandboxPlace | LocalPlace;
  readonly report: SandboxReport;
  /** Absent where there is no sandbox. */
  readonly profileId?: string;
  /** The files and directories of the host that the command may write. */
  readonly writableRoots: readonly string[];
  /** For people: what was dropped, created or expanded, and why. */
  readonly notes: readonly string[];
  close(): void;
}

/** Values by the names that a contract's env_allow may use. */
export type Environment = Readonly<Record<string, string>>;

/** Every command in a sandbox of its own. */
export function createSandboxWorkplace(facts: HostFacts, environment: Environment): Workplace {
  return {
    mode: 'hardened',
    notes: [],
    furnish(command, policy) {
      const { cwd, read_paths: readPaths, write_paths: writePaths } = command;
      const scopes = resolveScopes({ cwd, readPaths, writePaths, policy }, facts);
      const plan = planSandbox(facts, scopes, { environment: pick(environment, command.env_allow) });
      return {
        launchIn: { kind: 'sandbox', plan, scopes },
        report: describeSandbox(plan, facts),
        profileId: sandboxProfileId(plan),
        writableRoots: scopes.binds.filter(({ writable }) => writable).map(({ source }) => source),
        notes: scopes.notes,
        close: () => scopes.close(),
      };
    },
  };
}

/** What goes with everything that local mode does. */
export const localModeNote =
  'LOCAL MODE: this executor has no sandbox. Commands run with all rights of its user; only the policy limits them.';

/** Every command on the host itself: for a workstation that has no sandbox to offer. */
export function createLocalWorkplace(environment: Environment): Workplace {
  return {
    mode: 'local',
    notes: [localModeNote],
    furnish: (command) => ({
      launchIn: {
        kind: 'local',
        cwd: command.cwd,
        environment: { ...localEnvironment(), ...pick(environment, command.env_allow) },
      },
      report: describeLocal(),
      writableRoots: command.write_paths.flatMap(resolveRoot),
      notes: [],
      close: () => {},
    }),
  };
}

function localEnvironment(): Environment {
  return { HOME: homedir(), LANG: 'C.UTF-8', PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin' };
}

function pick(environment: Environment, names: readonly string[]): Environment {
  return Object.fromEntries(
    names.flatMap((name) => (Object.hasOwn(environment, name) ? [[name, environment[name] ?? '']] : [])),
  );
}

function resolveRoot(declared: string): string[] {
  const path = stripTree(declared);
  return (isGlob(path) ? expandGlob(path) : [path]).map(realPath);
}

// What is not there yet is not a symlink either.
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * Why a command cannot start in its cwd on this host; undefined where it can. It is a failed run with exit code 126,
 * as in the reference, and not a refusal.
 */
export function findCwdProblem(cwd: string, allowedPrefixes: readonly string[]): string | undefined {
  try {
    const path = realpathSync(cwd);
    if (!statSync(path).isDirectory()) return `cwd ${cwd} is not a directory`;
    return isCoveredBy(path, allowedPrefixes)
      ? undefined
      : `cwd ${cwd} leads to ${path}, outside allowed_cwd_prefixes`;
  } catch {
    return `cwd ${cwd} does not exist on this host`;
  }
}
