import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { argvs, type Command } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';

import { grantedVariables, type Policy } from '@csc-fleet/common/policy';
import { showPath } from '@csc-fleet/sandbox/host';
import {
  type LaunchedProcess,
  type LocalPlace,
  type SandboxPlace,
  waitUntilBuilt,
} from '@csc-fleet/sandbox/launch';
import {
  type ClaimedScopes,
  createFindProgram,
  describeLocal,
  describeSandbox,
  type Executable,
  expandDeclared,
  type HostFacts,
  keepingState,
  type LiveReach,
  LiveScopes,
  type MadePaths,
  makeMissing,
  type NotRunnable,
  planSandbox,
  type ResolvedScopes,
  resolveScopes,
  ScopeClaims,
  type ScopeRequest,
  sandboxProfileId,
  toRunFacts,
  toSecretDescriptor,
} from '@csc-fleet/sandbox/plan';
import type { Allowance } from '../admission/grant.ts';
import { nodeOptions, proxyFiles } from '../egress/sandbox-files.ts';
import { proxyEnvironment, proxyPort } from '../egress/sandbox-side.ts';
import type { ExecutionMode, RecordedPlace } from '../evidence/index.ts';
import { type RunSecrets, secretVariables } from '../secrets/index.ts';

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

/**
 * Every command in a sandbox of its own.
 * @param stateDir the executor's, which no command may write, whatever its policy says
 */
export function createSandboxWorkplace(
  facts: HostFacts,
  environment: Environment,
  stateDir: string,
): Workplace {
  const hostFacts = keepingState(facts, stateDir);
  const live = new LiveScopes();
  const claims = new ScopeClaims();
  return {
    mode: 'hardened',
    notes: [],
    furnish(command, allowance) {
      const { limits, secrets } = allowance;
      const facts = toRunFacts(hostFacts, allowance.user, umaskOf(allowance.policy));
      const scopes = resolveScopes(toRequest(command, allowance, claims), facts);
      const { shared, leave } = live.enter({ binds: toReach(scopes), network: command.network });
      const claim = claims.claim(toClaim(scopes));
      const plan = planSandbox(facts, scopes, {
        environment: sandboxEnvironment(command, environment, allowance),
        network: command.network,
        limits,
        secrets: [...new Set(command.secret_refs)],
        unixSockets: shared.length === 0 && allowance.unixSockets !== 'deny',
        ...(command.network === 'allowlisted' ? { files: proxyFiles(proxyPort, allowance.egressHosts) } : {}),
      });
      const findProgram = createFindProgram(plan, scopes, facts);
      let profileId: string | undefined;
      return {
        launchIn: {
          kind: 'sandbox',
          plan,
          scopes,
          user: facts.jobUser,
          findProgram,
          secrets: secretsOf(command, secrets),
        },
        findProgram,
        // For the receipt: reckoned once it is asked for, which is while bwrap builds the sandbox.
        get report() {
          return describeSandbox(plan, facts);
        },
        get profileId() {
          profileId ??= sandboxProfileId(plan);
          return profileId;
        },
        writableRoots: scopes.writes,
        mostWritten: { bytes: plan.writeBytes, files: plan.writeFiles },
        ...(plan.credentials === undefined ? {} : { credentials: plan.credentials }),
        notes: [...scopes.notes, ...noteShared(shared)],
        closed: scopes.closed,
        hints: scopes.hints,
        missing: scopes.missing,
        launched: (process) => {
          if (scopes.fixed.length > 0) claim.buildsUntil(waitUntilBuilt(process, writableMounts(scopes)));
        },
        mayStart: () => claim.mayStart(),
        close: () => {
          leave();
          claim.release();
          scopes.close();
        },
      };
    },
    makeMissing: (command, allowance) =>
      makeMissing(
        toRequest(command, allowance, claims),
        toRunFacts(hostFacts, allowance.user, umaskOf(allowance.policy)),
      ),
  };
}

// Its digits are octal. Undefined: the usual one.
function umaskOf({ umask }: Pick<Policy, 'umask'>): number | undefined {
  return umask === undefined ? undefined : Number.parseInt(umask, 8);
}

function toRequest(
  command: Command,
  { policy, pathRoots: roots, expectedOutputs: outputs = [] }: Allowance,
  claims: ScopeClaims,
): ScopeRequest {
  const { cwd, read_paths: readPaths, write_paths: writePaths } = command;
  return { cwd, readPaths, writePaths, outputs, words: argvs(command).flat(), policy, roots, claims };
}

function noteShared(paths: readonly string[]): string[] {
  if (paths.length === 0) return [];
  const named = paths.slice(0, 3).map(showPath).join(', ');
  const more = paths.length > 3 ? ` and ${paths.length - 3} more` : '';
  return [`another run has ${named}${more} as well: this command gets no Unix sockets that have a name`];
}

function writableMounts({ binds }: ResolvedScopes): string[] {
  return binds.filter(({ writable }) => writable).map(({ destination }) => destination);
}

// A mount that holds several write scopes is written in these alone.
function toReach({ binds, writes }: ResolvedScopes): LiveReach['binds'] {
  return [
    ...binds
      .filter(({ source }) => !writes.includes(source))
      .map(({ source }) => ({ source, writable: false })),
    ...writes.map((source) => ({ source, writable: true })),
  ];
}

function toClaim(scopes: ResolvedScopes): ClaimedScopes {
  const reads = toReach(scopes).filter(({ writable }) => !writable);
  return { reads: reads.map(({ source }) => source), writes: scopes.writes, fixed: scopes.fixed };
}

// The way out and the secrets' places are the executor's own: no value of the host's config goes over them.
function sandboxEnvironment(
  { env_allow: names, network, secret_refs }: Command,
  environment: Environment,
  { policy, egressHosts, terminal }: Allowance,
): Environment {
  const granted = grantedVariables(policy, names);
  const own = { ...pick(environment, granted), ...policy.set_env };
  return {
    ...own,
    ...(terminal === undefined ? {} : { TERM: terminal.type }),
    ...(network === 'allowlisted' ? proxyEnvironment(proxyPort, egressHosts) : {}),
    ...(network === 'allowlisted' ? { NODE_OPTIONS: nodeOptions(own['NODE_OPTIONS']) } : {}),
    ...secretVariables(secret_refs, granted),
  };
}

function secretsOf({ secret_refs: names }: Command, { values }: RunSecrets): ReadonlyMap<string, Buffer> {
  return new Map(
    names.flatMap((name) => {
      const value = values.get(name);
      return value === undefined ? [] : [[toSecretDescriptor(name), value]];
    }),
  );
}

/** What goes with everything that local mode does. */
export const localModeNote =
  'LOCAL MODE: this executor has no sandbox. Commands run with all rights of its user; only the policy limits them.';

/** Every command on the host itself: for a workstation that has no sandbox to offer. */
export function createLocalWorkplace(environment: Environment): Workplace {
  return {
    mode: 'local',
    notes: [localModeNote],
    furnish(command, { policy }) {
      checkLocal(command);
      const granted = {
        ...pick(environment, grantedVariables(policy, command.env_allow)),
        ...policy.set_env,
      };
      return {
        launchIn: {
          kind: 'local',
          cwd: command.cwd,
          environment: { ...localEnvironment(), ...granted },
          umask: umaskOf(policy) ?? 0o022,
        },
        report: describeLocal(),
        writableRoots: command.write_paths.flatMap(resolveRoot),
        notes: [],
        closed: [],
        hints: [],
        missing: [],
        close: () => {},
      };
    },
    // A command on the host itself makes its own.
    makeMissing: () => ({ takeBackUnwritten: () => undefined }),
  };
}

// Both need a sandbox: the one to have no other way out, the other to be gone with it.
function checkLocal({ network, secret_refs: secrets }: Command): void {
  if (network !== 'allowlisted' && secrets.length === 0) return;
  const what = network === 'allowlisted' ? 'an allowlisted network' : 'secrets';
  throw new CscError('SANDBOX_UNAVAILABLE', `local mode has no sandbox, and so no ${what} to give`, {
    isLasting: true,
  });
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
  return expandDeclared(declared).map(realPath);
}

// What is not there yet is not a symlink either.
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
