import type { Approvers } from '../approval/index.ts';
import type { ChainEntry } from '../evidence/index.ts';
import { parseRevoked, type Revocation, type SignedVersion } from '../owners/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';
import { type Electorate, findApprovers, toElectorate } from './approvals.ts';
import type { BundleFault, BundleFiles } from './fault.ts';
import { findOwnersFiles } from './manifest.ts';

/** What the owners have signed of `repository/`, as somebody has verified it by a root of their own. */
export interface OwnersWord {
  /** In words, each with its file: what is there and is not the owners'. */
  readonly faults: readonly string[];
  /** The last root that the pinned one leads to. */
  readonly root: number;
  /** Those that verified, the oldest first. */
  readonly versions: readonly SignedVersion[];
  /** Below those, and by keys of before the pinned root alone: counted for nothing. */
  readonly earlier: readonly number[];
  /** Undefined for what is none of `versions`. */
  read(version: number): OwnersVersion | undefined;
}

/** What one version of the owners' files says. */
export interface OwnersVersion {
  /** In words: files of it that cannot be read. */
  readonly faults: readonly string[];
  /** Hashes of its profiles, lower-case hex. */
  readonly policies: ReadonlySet<string>;
  /** URLs of those whose tokens say who a job is. */
  readonly issuers: ReadonlySet<string>;
  readonly approvers?: Approvers;
  readonly revoked: readonly Revocation[];
}

/** What was held against the owners' root. */
export interface BundleOwners {
  readonly root: number;
  /** With how many receipts of runs are by each. */
  readonly versions: readonly (SignedVersion & { readonly receipts: number })[];
  readonly earlier: readonly number[];
  /** Receipts of runs by a policy that the owners have signed, whose host names no version of their files. */
  readonly unnumbered: number;
}

/** Whom a receipt's approvals can be of. */
export interface ApprovalJudge {
  of(receipt: ReceiptV02): Electorate;
}

/** As the bundle itself brings it: all that was ever in `repository/`. What cannot be read is a fault. */
export function unverifiedJudge(files: BundleFiles, faults: BundleFault[]): ApprovalJudge {
  const onFault = (file: string, why: string) =>
    void faults.push({
      kind: 'owners',
      file,
      message: `${file} cannot be read, and counts for nothing: ${why}`,
    });
  const approvers = findApprovers(files, onFault);
  const revoked = findOwnersFiles(files, 'revoked.yaml').flatMap(([file, bytes]) => {
    const parsed = parseRevoked(bytes);
    if (parsed.ok) return parsed.value.revoked;
    onFault(file, `${parsed.faults[0]?.path ?? ''} ${parsed.faults[0]?.message ?? ''}`.trim());
    return [];
  });
  const electorate = toElectorate(approvers, revoked);
  return { of: () => electorate };
}

/**
 * Holds what ran against what the owners have signed: each by a profile of the version that its host names, or, where it names
 * none, of some version; and each token by an issuer of theirs. What does not hold is a fault.
 */
export function checkOwners(
  word: OwnersWord,
  entries: readonly ChainEntry[],
  faults: BundleFault[],
): { readonly owners: BundleOwners; readonly judge: ApprovalJudge } {
  for (const message of word.faults) faults.push({ kind: 'owners', message });
  const reader = new Reader(word, faults);
  const newest = word.versions.at(-1);
  if (newest === undefined) faults.push({ kind: 'owners', message: whyNone });
  const counts = new Map<number, number>();
  const named = new Map<string, Objection & { readonly receipts: string[]; approvals: number }>();
  const tell = ({ name: file, receipt }: ChainEntry, objection: Objection): void => {
    const { message, isOfVersion = false } = objection;
    const told = named.get(message) ?? { ...objection, receipts: [], approvals: 0 };
    told.receipts.push(file);
    if (isOfVersion) told.approvals += receipt.approvals.filter((it) => it.artifact !== undefined).length;
    named.set(message, told);
  };
  let unnumbered = 0;
  for (const entry of entries) {
    const { receipt } = entry;
    if (!hasRun(receipt)) continue;
    const { policy_version: version } = receipt;
    if (version === undefined) unnumbered += 1;
    else counts.set(version, (counts.get(version) ?? 0) + 1);
    for (const objection of findObjections(receipt, reader)) tell(entry, objection);
  }
  for (const { kind, receipts, approvals, message } of named.values()) {
    const [file = '', ...others] = receipts;
    const more = others.length === 0 ? '' : ` (and ${others.length} more receipts)`;
    const unknown =
      approvals === 0 ? '' : `; whether those who approved might (${approvals} approvals) is not known`;
    faults.push({ kind, file, message: `${file}${more}: ${message}${unknown}` });
  }
  return {
    owners: {
      root: word.root,
      versions: word.versions.map(({ version, root, expires, signedAt }) => ({
        version,
        root,
        expires,
        receipts: counts.get(version) ?? 0,
        ...(signedAt === undefined ? {} : { signedAt }),
      })),
      earlier: word.earlier,
      unnumbered,
    },
    judge: createJudge(reader, newest?.version),
  };
}

const whyNone =
  'no version of the owners’ files in repository/ verifies by the owners’ root: csc audit bundle puts them in with --policy-repository, the published folder';

// What was refused before anything could run names the policy that its gate named. A run whose last command was refused
// ran others before.
function hasRun({ commands }: ReceiptV02): boolean {
  return commands.length > 0;
}

interface Objection {
  readonly kind: string;
  readonly message: string;
  /** That what the owners said then is not here; false if absent. */
  readonly isOfVersion?: boolean;
}

function findObjections(receipt: ReceiptV02, reader: Reader): Objection[] {
  const { policy_version: version, policy_profile: profile, policy_sha256: policy = '', identity } = receipt;
  const content = version === undefined ? reader.all() : reader.read(version);
  if (content.length === 0)
    return [
      {
        kind: 'owners',
        message: `version ${version ?? '?'} of the owners’ files, which it ran by, is not here as they have signed it`,
        isOfVersion: true,
      },
    ];
  const of =
    version === undefined ? 'no version of them here names one' : `version ${version} has another, or none`;
  return [
    ...(content.some(({ policies }) => policies.has(policy.toLowerCase()))
      ? []
      : [
          {
            kind: 'policy',
            message: `it ran by the profile ${profile} of the hash ${policy}, which the owners have not signed: ${of}`,
          },
        ]),
    ...(identity === undefined || content.some(({ issuers }) => issuers.has(identity.issuer))
      ? []
      : [
          {
            kind: 'identity',
            message: `it ran for a token of ${identity.issuer}, which no issuers.yaml names that the owners have signed`,
          },
        ]),
  ];
}

// By the version of then. A key that the newest knows to have been revoked before counts no more, whatever was known then.
function createJudge(reader: Reader, newest: number | undefined): ApprovalJudge {
  const known = new Map<number | undefined, Electorate>();
  const late = newest === undefined ? [] : reader.read(newest);
  const create = (version: number | undefined): Electorate => {
    const content = version === undefined ? reader.all() : reader.read(version);
    const revoked = [...(version === undefined ? [] : content), ...late].flatMap((it) => it.revoked);
    const electorate = toElectorate(
      content.flatMap(({ approvers }) => approvers ?? []),
      revoked,
    );
    // Of a version that is not here, which is a fault of its own, nobody knows who is in it.
    return { ...electorate, isSigned: content.length > 0 };
  };
  return {
    of: (receipt) => {
      const version = receipt.policy_version;
      const electorate = known.get(version) ?? create(version);
      known.set(version, electorate);
      return hasRun(receipt) ? electorate : { ...electorate, isSigned: false };
    },
  };
}

/** Reads each version once, and says once what cannot be read of it. */
class Reader {
  readonly #word: OwnersWord;
  readonly #faults: BundleFault[];
  readonly #read = new Map<number, readonly OwnersVersion[]>();

  constructor(word: OwnersWord, faults: BundleFault[]) {
    this.#word = word;
    this.#faults = faults;
  }

  /** Empty where it has not verified. */
  read(version: number): readonly OwnersVersion[] {
    const known = this.#read.get(version);
    if (known !== undefined) return known;
    const content = this.#word.read(version);
    for (const message of content?.faults ?? []) this.#faults.push({ kind: 'owners', message });
    const read = content === undefined ? [] : [content];
    this.#read.set(version, read);
    return read;
  }

  all(): readonly OwnersVersion[] {
    return this.#word.versions.flatMap(({ version }) => this.read(version));
  }
}
