import { type Approvers, parseApprovers, withoutRevoked } from '../approval/index.ts';
import { CscError, orThrow, type Parsed, parsed, quoteBriefly } from '../errors/index.ts';
import {
  createRevocations,
  type Freeze,
  type HostRule,
  type Issuer,
  type OwnersLog,
  parseFreeze,
  parseHosts,
  parseIssuers,
  parseLog,
  parseRevoked,
  type Revocations,
} from '../owners/index.ts';
import { type Bindings, checkBindings, type PolicySet, parseBindings, parsePolicy } from '../policy/index.ts';
import { parseSamples, readPolicies } from '../policy-directory/index.ts';

/** Everything that the owners of a fleet have published at one moment. */
export interface OwnersFiles {
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  /** Absent: only each host's own ceiling bounds it. */
  readonly hosts?: readonly HostRule[];
  /** Whose tokens say who a CI job is. Absent: nobody's. */
  readonly issuers?: readonly Issuer[];
  /** Which log of receipts is the fleet's. Absent: they do not say. */
  readonly log?: OwnersLog;
  readonly revocations: Revocations;
  /** Absent: nothing is frozen. */
  readonly freeze?: Freeze;
  /** Absent: no approval counts that somebody has signed. */
  readonly approvers?: Approvers;
}

/** Files by their names in the repository: `bindings.yaml`, `policies/build.yaml`. */
export type Files = ReadonlyMap<string, Uint8Array>;

const policyName = /^policies\/[A-Za-z0-9][A-Za-z0-9._-]*\.yaml$/;
const loose = [
  'bindings.yaml',
  'approvers.yaml',
  'hosts.yaml',
  'issuers.yaml',
  'log.yaml',
  'revoked.yaml',
  'freeze.yaml',
] as const;

/** How many files a repository may have. */
export const maxOwnersFiles = 500;

/** True for a name that a repository may hold. */
export function isOwnersFile(name: string): boolean {
  return policyName.test(name) || loose.some((it) => it === name);
}

/**
 * What the files say together. Throws POLICY_INVALID for too many files, a name that a repository may not hold, a faulty file, a
 * profile whose samples fail, bindings of profiles that are not there, or no bindings at all: without them nobody may
 * use anything. Fails as a whole: a fleet must not run on a part of what its owners say.
 */
export function readOwnersFiles(files: Files): OwnersFiles {
  if (files.size > maxOwnersFiles)
    throw invalid(`a policy repository has at most ${maxOwnersFiles} files, not ${files.size}`);
  for (const name of files.keys()) if (!isOwnersFile(name)) throw noSuchFile(name);
  const policies = readPolicies(new Map([...files].filter(([name]) => policyName.test(name))));
  const bindings = required(files, 'bindings.yaml', parseBindings);
  checkBindings(bindings, policies);
  const hosts = optional(files, 'hosts.yaml', parseHosts)?.hosts;
  const issuers = optional(files, 'issuers.yaml', parseIssuers)?.issuers;
  const log = optional(files, 'log.yaml', parseLog);
  const frozen = optional(files, 'freeze.yaml', parseFreeze)?.frozen;
  const people = optional(files, 'approvers.yaml', parseApprovers);
  const revocations = createRevocations(optional(files, 'revoked.yaml', parseRevoked)?.revoked ?? [], [
    ...(bindings.submitters ?? []).flatMap(({ keys }) => keys),
    ...(people?.all() ?? []).flatMap(({ keys }) => keys),
  ]);
  return {
    policies,
    bindings,
    revocations,
    ...(hosts === undefined ? {} : { hosts }),
    ...(issuers === undefined ? {} : { issuers: issuers.filter((it) => !isRevoked(it, revocations)) }),
    ...(log === undefined ? {} : { log }),
    ...(frozen === undefined ? {} : { freeze: frozen }),
    ...(people === undefined ? {} : { approvers: withoutRevoked(people, revocations) }),
  };
}

// No token of it says anything any more, at whatever door.
function isRevoked({ issuer }: Issuer, revocations: Revocations): boolean {
  return revocations.all().some(({ kind, id }) => kind === 'issuer' && id === issuer);
}

/**
 * Throws POLICY_INVALID where a profile asks for approvals that can never be given: of a group that approvers.yaml does
 * not name, or has for breaking the glass, or of more people than it has left. For who signs: a host takes such a
 * repository, and runs nothing that asks for them; a stop of the owners is not held up by it.
 */
export function checkQuorums({ policies, approvers }: Pick<OwnersFiles, 'policies' | 'approvers'>): void {
  const faults = policies.all().flatMap(({ policy: { name, approvals = [] } }) =>
    approvals.flatMap(({ quorum }, rule) =>
      quorum.flatMap(({ group, count }, at) => {
        const message = whyNever(group, count, approvers);
        return message === undefined ? [] : [{ path: `${name}: approvals[${rule}].quorum[${at}]`, message }];
      }),
    ),
  );
  orThrow(faults.length === 0 ? parsed(undefined) : { ok: false, faults }, 'POLICY_INVALID', 'the profiles');
}

function whyNever(group: string, count: number, approvers: Approvers | undefined): string | undefined {
  const named = quoteBriefly(group);
  if (approvers === undefined) return `there is no approvers.yaml, so that nobody of ${named} can approve`;
  if (!approvers.groups().includes(group)) return `approvers.yaml has no group named ${named}`;
  if (approvers.breakGlass?.groups.includes(group) === true)
    return `${named} is for breaking the glass in approvers.yaml, and for nothing else`;
  const members = approvers.all().filter(({ groups }) => groups.includes(group)).length;
  return count > members ? `asks ${count} of ${named}, which has ${members} who can approve` : undefined;
}

/** Throws POLICY_INVALID where a profile that is among `names`, or whose samples are, fails its samples. */
export function checkProfiles(files: Files, names: readonly string[]): void {
  const profiles = new Set(names.filter((name) => policyName.test(name)).map(toProfileName));
  // Samples whose profile is still to come wait for it.
  const there = [...files].filter(
    ([name]) => profiles.has(toProfileName(name)) && files.has(toProfileName(name)),
  );
  readPolicies(new Map(there));
}

function toProfileName(name: string): string {
  return name.replace(/\.samples\.yaml$/, '.yaml');
}

/** Throws POLICY_INVALID where this one file is no such file, whatever stands beside it. */
export function checkOwnersFile(name: string, bytes: Uint8Array): void {
  if (!isOwnersFile(name)) throw noSuchFile(name);
  const parse = parsers[name] ?? (name.endsWith('.samples.yaml') ? parseSamples : parsePolicy);
  orThrow<unknown>(parse(bytes), 'POLICY_INVALID', name);
}

const parsers: Readonly<Record<string, Parse<unknown>>> = {
  'bindings.yaml': parseBindings,
  'approvers.yaml': parseApprovers,
  'hosts.yaml': parseHosts,
  'issuers.yaml': parseIssuers,
  'log.yaml': parseLog,
  'revoked.yaml': parseRevoked,
  'freeze.yaml': parseFreeze,
};

type Parse<T> = (bytes: Uint8Array) => Parsed<T>;

function required<T>(files: Files, name: string, parse: Parse<T>): T {
  const value = optional(files, name, parse);
  if (value === undefined) throw invalid(`there is no ${name}: without it nobody may use anything`);
  return value;
}

function optional<T>(files: Files, name: string, parse: Parse<T>): T | undefined {
  const bytes = files.get(name);
  return bytes === undefined ? undefined : orThrow(parse(bytes), 'POLICY_INVALID', name);
}

function noSuchFile(name: string): CscError {
  return invalid(
    `${quoteBriefly(name)} is no file of a policy repository: policies/NAME.yaml, ${loose.join(', ')}`,
  );
}

function invalid(message: string): CscError {
  return new CscError('POLICY_INVALID', message);
}
