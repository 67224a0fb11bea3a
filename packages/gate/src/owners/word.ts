import type { Approvers } from '@csc-fleet/common/approval';
import type { OwnersKeys } from '@csc-fleet/common/evidence';
import {
  describeFreeze,
  describeRevocation,
  type Freeze,
  type HostNames,
  type HostRule,
  hasLabels,
  type Issuer,
  type NamedKey,
  type OwnersLog,
  type Revocation,
  type Revocations,
  rulesFor,
} from '@csc-fleet/common/owners';
import {
  type Binding,
  type Bindings,
  bindingOf,
  createReloadableBindings,
  createReloadablePolicySet,
  matchesPattern,
  type PolicySet,
} from '@csc-fleet/common/policy';

/** All that the owners of a fleet say at one moment, as this gate knows it. */
export interface OwnersWord {
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  /** Absent: only each host's own ceiling bounds it. */
  readonly hosts?: readonly HostRule[];
  /** Whose tokens say who a CI job is. Absent: nobody's. */
  readonly issuers?: readonly Issuer[];
  /** Which log of receipts is the fleet's. Absent: they do not say. */
  readonly log?: OwnersLog;
  /** Absent: nothing is revoked. */
  readonly revocations?: Revocations;
  /** Without whom and what is revoked. Absent: no approval counts that somebody has signed. */
  readonly approvers?: Approvers;
  /** Absent: nothing is frozen. */
  readonly freeze?: Freeze;
  /** Of the policy repository. Absent: there is none. */
  readonly version?: number;
  /** Whose keys sign for the owners. Absent: there is no policy repository, which would say so. */
  readonly signers?: OwnersKeys;
}

/** What is to run, to those who may have stopped it. */
export interface StopSubject {
  readonly principal: string;
  readonly profile: string;
  /** Absent: it has none yet. */
  readonly executionId?: string;
  /** The key that signed its submission. Absent: none did. */
  readonly keyId?: string;
  /** Of its submission, lower-case hex. Absent: none came. */
  readonly submissionSha256?: string;
  /** Of its submission, in whichever form. */
  readonly submissionNonce?: string;
}

/** A host, to those who say what may run where. */
export interface HostSubject {
  /** The NAME in its SPIFFE id. */
  readonly name: string;
  /** Its whole SPIFFE id. */
  readonly id: string;
  readonly receiptKey: NamedKey;
  readonly labels: Readonly<Record<string, string>>;
}

/** How much of the gate one principal may have, as the owners say. */
export interface PrincipalLimits {
  /** How many of its executions are placed for each one of another that waits, too; 1 where nobody says. */
  readonly weight: number;
  /** Executions that wait for an executor, and again for approval. Infinity: as many as the gate takes. */
  readonly queued: number;
  /** Executions that are placed at a time. Infinity: as many as there are slots. */
  readonly running: number;
  /** New executions. Infinity: as many as it may make calls. */
  readonly submissionsPerMin: number;
  /** Infinity: as much as the gate stores for anybody. */
  readonly storedBytesPerDay: number;
}

/** What the owners say of a run beside policies and bindings. The gate obeys it early; hosts hold it against every offer. */
export interface Owners {
  /** Why nothing of this may run, for people; undefined where neither freeze nor revocation stands in its way. */
  whyStopped(subject: StopSubject): string | undefined;
  /** Undefined: nothing is frozen. */
  freeze(): Freeze | undefined;
  /** False where the host would refuse it: it is revoked, or bindings or hosts.yaml say that this does not run there. */
  mayRunOn(host: HostSubject, subject: StopSubject): boolean;
  /**
   * The revocation of the host, where it is all that keeps this from running there; undefined otherwise.
   */
  revocationOn(host: HostSubject, subject: StopSubject): Revocation | undefined;
  /** The revocation of a host, whatever is to run there; undefined where none is. */
  revocationOf(host: HostNames): Revocation | undefined;
  /** The same object for as long as the owners say the same. */
  limitsOf(principal: string): PrincipalLimits;
  /** Whose tokens say who a CI job is; undefined: nobody's. */
  issuers(): readonly Issuer[] | undefined;
  /** Which log of receipts is the fleet's; undefined: they do not say. */
  log(): OwnersLog | undefined;
  /** What is revoked; empty where nothing is. */
  revoked(): readonly Revocation[];
  /** Whose keys sign for the owners; undefined where this gate does not know. */
  signers(): OwnersKeys | undefined;
  /** True where hosts hear of what is new by themselves, and then say Hello once more. */
  tellsHosts(): boolean;
  /** Of the policy repository; undefined: there is none. */
  version(): number | undefined;
  /** Who may approve; undefined: the owners name nobody. */
  approvers(): Approvers | undefined;
}

/** The owners' word, which may be another one at any time: everybody who holds a part of it sees that at once. */
export interface ReloadableOwners extends Owners {
  /** What was decided by a policy that is replaced is still limited by it. */
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  replace(next: OwnersWord): void;
}

export function createOwners(first: OwnersWord): ReloadableOwners {
  const policies = createReloadablePolicySet(first.policies, { keepReplaced: true });
  const bindings = createReloadableBindings(first.bindings);
  let word = first;
  const limits = new Map<string, PrincipalLimits>();
  return {
    policies,
    bindings,
    whyStopped: (subject) => whyStopped(word, subject),
    freeze: () => word.freeze,
    mayRunOn: (host, subject) => mayRunOn(word, host, subject),
    revocationOn: (host, subject) =>
      isOpenTo(word, host, subject) ? word.revocations?.findHost(namesOf(host)) : undefined,
    revocationOf: (host) => word.revocations?.findHost(host),
    limitsOf: (principal) => {
      // Asked for at every placement, and bindings are patterns in a list.
      const known = limits.get(principal) ?? toLimits(bindingOf(word.bindings, principal)?.limits);
      limits.set(principal, known);
      return known;
    },
    issuers: () => word.issuers,
    log: () => word.log,
    revoked: () => word.revocations?.all() ?? [],
    signers: () => word.signers,
    version: () => word.version,
    approvers: () => word.approvers,
    tellsHosts: () => word.version !== undefined,
    replace: (next) => {
      policies.replace(next.policies);
      bindings.replace(next.bindings);
      word = next;
      limits.clear();
    },
  };
}

function toLimits(limits: Binding['limits'] = {}): PrincipalLimits {
  const { weight = 1, queued = Number.POSITIVE_INFINITY, running = Number.POSITIVE_INFINITY } = limits;
  return {
    weight,
    queued,
    running,
    submissionsPerMin: limits.submissions_per_min ?? Number.POSITIVE_INFINITY,
    storedBytesPerDay: limits.stored_bytes_per_day ?? Number.POSITIVE_INFINITY,
  };
}

function whyStopped({ freeze, revocations }: OwnersWord, subject: StopSubject): string | undefined {
  if (freeze !== undefined) return describeFreeze(freeze);
  const { executionId = '' } = subject;
  const revoked = revocations?.find({ ...subject, executionId, executorId: '' });
  if (revoked === undefined) return undefined;
  return describeRevocation(revoked);
}

function mayRunOn(word: OwnersWord, host: HostSubject, subject: StopSubject): boolean {
  if (word.revocations?.findHost(namesOf(host)) !== undefined) return false;
  return isOpenTo(word, host, subject);
}

function namesOf({ name: executorId, id: identity, receiptKey }: HostSubject): HostNames {
  return { executorId, identity, receiptKey };
}

function isOpenTo(
  { policies, bindings, hosts }: OwnersWord,
  { labels }: HostSubject,
  { principal, profile }: StopSubject,
): boolean {
  if (!hasLabels(labels, bindingOf(bindings, principal)?.hosts ?? {})) return false;
  if (!hasLabels(labels, policies.byName(profile)?.policy.hosts ?? {})) return false;
  if (hosts === undefined) return true;
  const rules = rulesFor(hosts, labels);
  return rules.length > 0 && rules.every((rule) => allows(rule, principal, profile));
}

function allows({ policies, principals }: HostRule, principal: string, profile: string): boolean {
  if (policies !== undefined && !policies.includes(profile)) return false;
  return principals?.some((pattern) => matchesPattern(pattern, principal)) ?? true;
}
