import { findDualControlObjection } from '@csc-fleet/common/approval';
import { type Command, type CommandContract, parseContract } from '@csc-fleet/common/contract';
import { evaluate, type Verdict } from '@csc-fleet/common/decision';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, type Fault, isCscError, orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { narrowLimits } from '@csc-fleet/common/limits';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';
import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { EgressHost } from '@csc-fleet/common/schema';

import { toCommonLimits } from '@csc-fleet/sandbox/cgroup';
import { showPath } from '@csc-fleet/sandbox/host';
import { checkCeiling } from '../admission/ceiling.ts';
import { type Allowance, allowanceOf } from '../admission/grant.ts';
import { ceilingUnder, type HostCeiling } from '../admission/host-ceiling.ts';
import type { OwnersWord } from '../admission/owners.ts';
import { furnishCommand } from '../run/furnish.ts';

import { createLocalWorkplace } from '../run/local-workplace.ts';
import { createSandboxWorkplace } from '../run/sandbox-workplace.ts';
import type { Place, Workplace } from '../run/workplace.ts';
import { noSecrets } from '../secrets/index.ts';
import { type ExecutorConfig, readExecutorConfig } from './config.ts';
import { findRevocation, type KnownHost, readKnownHost, readKnownWord } from './known-host.ts';
import { requireOwnHost } from './own-host.ts';
import { describeRevokedWhole } from './revoked-host.ts';

/** What this host would make of a contract under one of its policies. */
export interface Explanation {
  readonly policy: string;
  readonly verdict: Verdict;
  /** Why not, or why a person must say yes. */
  readonly reasons: readonly string[];
  /** What the contract asks for beyond the host's ceiling, or beyond the consent that counts here. */
  readonly ceiling: readonly Fault[];
  readonly commands: readonly CommandExplanation[];
  /** Why this host starts nothing at all, for people: its owners have revoked it. Absent: it does. */
  readonly revoked?: string;
  /** Nothing stands in the way but an approval, where one is needed. */
  readonly granted: boolean;
}

/** What one command would have here. */
export interface CommandExplanation {
  readonly id: string;
  /** Why it could not run; absent where it could. */
  readonly refused?: string;
  readonly reads?: readonly string[];
  readonly writes?: readonly string[];
  readonly environment?: readonly string[];
  /** Of those, what the policy itself sets, as `NAME=value`. */
  readonly setByPolicy?: readonly string[];
  readonly secrets?: readonly string[];
  readonly network?: string;
  /** Each list must name where a request goes. */
  readonly egress?: readonly (readonly EgressHost[])[];
  readonly sandbox?: SandboxReport;
  readonly sandboxProfileId?: string;
  readonly notes?: readonly string[];
}

/**
 * What an executor with this config would grant a contract, under one policy or under each that it holds. Starts and
 * makes nothing, and reads no secret. Throws CONFIG_INVALID, FILE_UNREADABLE, CONTRACT_INVALID, POLICY_INVALID or
 * SANDBOX_UNAVAILABLE.
 */
export async function explainContract(
  configPath: string,
  contractPath: string,
  policyName?: string,
): Promise<Explanation[]> {
  const config = readExecutorConfig(configPath);
  const contract = readContract(contractPath);
  const workplace = await openWorkplace(configPath, config);
  const word = readWord(config);
  const host = readKnownHost(config);
  return choosePolicies(config, word, policyName).map((document) =>
    explain(contract, document, { config, host, word, workplace }),
  );
}

function readContract(path: string): CommandContract {
  const { bytes } = readBoundedFile(path, { maxBytes: artifactBytes.contract });
  return orThrow(parseContract(bytes), 'CONTRACT_INVALID', path);
}

async function openWorkplace(configPath: string, config: ExecutorConfig): Promise<Workplace> {
  if (config.executionMode === 'local') return createLocalWorkplace(config.env);
  const { facts } = await requireOwnHost(configPath, config);
  return createSandboxWorkplace(facts, config.env, config.stateDir);
}

function choosePolicies(
  config: ExecutorConfig,
  { policies }: OwnersWord,
  name?: string,
): readonly PolicyDocument[] {
  if (name === undefined) return policies.all();
  const document = policies.byName(name);
  if (document !== undefined) return [document];
  const known = policies.all().map(({ policy }) => policy.name);
  throw new CscError(
    'CONFIG_INVALID',
    `${config.policies ?? 'the policy repository'} holds no policy named ${name}; it has ${known.join(', ')}`,
  );
}

// Of a repository, what the executor has fetched of it.
function readWord(config: ExecutorConfig): OwnersWord {
  const { policies } = config;
  if (policies !== undefined) return { policies: readPolicyDirectory(policies) };
  const known = readKnownWord(config);
  if (known !== undefined) return known;
  const message = 'this host has fetched no policy repository yet: start its executor once, and ask again';
  throw new CscError('POLICY_STALE', message);
}

interface Here {
  readonly config: ExecutorConfig;
  /** Undefined: its certificate cannot be read. */
  readonly host: KnownHost | undefined;
  readonly word: OwnersWord;
  readonly workplace: Workplace;
}

function explain(
  contract: CommandContract,
  document: PolicyDocument,
  { config, host, word, workplace }: Here,
): Explanation {
  const revocation = findRevocation(word, host);
  const { verdict, reasons } = evaluate(contract, document);
  const { dualControl } = config;
  const bounds = boundsUnder(document, { ...config, labels: host?.labels ?? config.labels }, word);
  const ceiling = [
    // Where people are named who can sign, two of them do.
    ...(word.approvers === undefined
      ? (findDualControlObjection(contract, { dualControl, by: 'host' })?.faults ?? [])
      : []),
    ...bounds.faults,
    ...findCeilingFaults(contract, document, bounds.ceiling),
  ];
  const runLimits = narrowLimits(config.runLimits, toCommonLimits(config.reserve));
  const owner = { ...config, ceiling: bounds.ceiling, runLimits };
  const belongings = { secrets: noSecrets, user: undefined };
  const allowance = {
    ...allowanceOf(document, {}, belongings, owner),
    expectedOutputs: contract.expected_outputs,
  };
  const commands = contract.commands.map((command) => explainCommand(command, allowance, config, workplace));
  return {
    policy: document.policy.name,
    verdict,
    reasons: verdict === 'allow' ? [] : reasons,
    ceiling,
    commands,
    ...(revocation === undefined ? {} : { revoked: describeRevokedWhole(revocation) }),
    granted:
      revocation === undefined &&
      verdict !== 'deny' &&
      ceiling.length === 0 &&
      commands.every(({ refused }) => refused === undefined),
  };
}

// The host's own ceiling, and what the owners' hosts.yaml says of a host like this. By whom is not known.
function boundsUnder(
  { policy }: PolicyDocument,
  { ceiling: own, labels }: Pick<ExecutorConfig, 'ceiling' | 'labels'>,
  word: OwnersWord,
): { readonly ceiling: HostCeiling; readonly faults: readonly Fault[] } {
  let ceiling = own;
  const faults = faultsOf(() => {
    ceiling = ceilingUnder(own, word, labels, { policy_profile: policy.name });
  });
  return { ceiling, faults };
}

// An approval may still come.
function findCeilingFaults(
  contract: CommandContract,
  { policy }: PolicyDocument,
  ceiling: HostCeiling,
): readonly Fault[] {
  const approvals = contract.approval_mode === 'policy_only' ? 0 : 1;
  return faultsOf(() => checkCeiling(contract, ceiling, { allowCommands: policy.allow_commands, approvals }));
}

function faultsOf(check: () => void): readonly Fault[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!isCscError(error)) throw error;
    return error.faults.length === 0 ? [{ path: '', message: error.message }] : error.faults;
  }
}

function explainCommand(
  command: Command,
  allowance: Allowance,
  { secrets }: ExecutorConfig,
  workplace: Workplace,
): CommandExplanation {
  const { id } = command;
  if (command.secret_refs.length > 0 && secrets === undefined)
    return { id, refused: "it needs secrets, and the executor's config has no `secrets` to take them from" };
  try {
    const furnished = furnishCommand(command, allowance, { workplace });
    if (furnished.kind === 'not_startable') return { id, refused: furnished.why };
    const { place } = furnished;
    try {
      return { id, ...describePlace(command, place, allowance), ...describeSetVariables(allowance) };
    } finally {
      place.close();
    }
  } catch (error) {
    if (!isCscError(error)) throw error;
    return { id, refused: error.message };
  }
}

function describeSetVariables({ policy }: Allowance): Pick<CommandExplanation, 'setByPolicy'> {
  const setByPolicy = Object.entries(policy.set_env ?? {}).map(([name, value]) => `${name}=${value}`);
  return setByPolicy.length === 0 ? {} : { setByPolicy };
}

function describePlace(
  { network, secret_refs: secrets }: Command,
  { launchIn, report, profileId, notes: found, closed }: Place,
  { egressHosts }: Allowance,
): Omit<CommandExplanation, 'id'> {
  const notes = [...found, ...closed.map((it) => `${it}: chown or chmod it on the host`)];
  const common = { secrets, network, sandbox: report, notes };
  if (launchIn.kind === 'local') return { ...common, environment: Object.keys(launchIn.environment).sort() };
  const { plan, scopes } = launchIn;
  const reads = scopes.binds
    .map(({ destination }) => destination)
    .filter((it) => !scopes.writes.includes(it));
  return {
    ...common,
    reads: reads.map(showPath),
    writes: scopes.writes.map(showPath),
    environment: Object.keys(plan.environment).sort(),
    ...(network === 'allowlisted' ? { egress: egressHosts } : {}),
    ...(profileId === undefined ? {} : { sandboxProfileId: profileId }),
  };
}
