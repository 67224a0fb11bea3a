import { argvs, type Command } from '@csc-fleet/common/contract';

import { grantedVariables } from '@csc-fleet/common/policy';
import { showPath } from '@csc-fleet/sandbox/host';
import { waitUntilBuilt } from '@csc-fleet/sandbox/launch';
import {
  type ClaimedScopes,
  createFindProgram,
  describeSandbox,
  type HostFacts,
  keepingState,
  type LiveReach,
  LiveScopes,
  makeMissing,
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
import { type RunSecrets, secretVariables } from '../secrets/index.ts';

import { type Environment, pickVariables, umaskOf, type Workplace } from './workplace.ts';

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
  const own = { ...pickVariables(environment, granted), ...policy.set_env };
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
