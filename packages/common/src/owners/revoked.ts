import * as z from 'zod';
import { type KeyEntry, toBase64 } from '../crypto/index.ts';
import { artifactBytes, type JsonValue, parseTimestamp } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { boundedText, nonEmptyText, oneOf, timestamp, validate, versionMember } from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';

/** What an entry of revoked.yaml may be about. */
export const revocationKinds = [
  'principal',
  'key',
  'host',
  'execution',
  'submission',
  'profile',
  'issuer',
] as const;

// A revocation and a freeze say the same of a stop: since when, why, and what becomes of runs that are under way.
const stopMembers = {
  since: timestamp,
  reason: boundedText({ min: 1, max: 500 }),
  running: oneOf(['finish', 'end']).default('finish').meta({
    description:
      'Whether runs that it meets go on to their end, or are ended at once, with a receipt that says so.',
  }),
};

const entry = z.strictObject({
  kind: oneOf(revocationKinds),
  id: nonEmptyText.meta({
    description:
      'A principal’s whole SPIFFE id, a key’s id or the base64 of its public key (of a submitter, an approver, or an executor’s receipts), an executor’s name or whole SPIFFE id, an execution id, a submission’s hash or nonce, a profile’s name, or the URL of an issuer of tokens, as issuers.yaml has it. A gate names executions: what must not run whatever it does is revoked by its submission. Where that was signed again for the one host that it names, it has two hashes, and one nonce, which is the idempotency key.',
  }),
  ...stopMembers,
});

/** The rules of revoked.yaml. */
export const revokedSchema = z
  .strictObject({
    revoked_version: versionMember('revocations', 'csc.revoked.v0.1'),
    revoked: z.array(entry).max(100_000),
  })
  .meta({ title: 'CSC revocations v0.1', description: 'Whom and what hosts run nothing for any more.' });

const frozen = z.strictObject({
  ...stopMembers,
});

/** The rules of freeze.yaml. */
export const freezeSchema = z
  .strictObject({
    freeze_version: versionMember('freeze', 'csc.freeze.v0.1'),
    frozen: frozen.exactOptional().meta({ description: 'Absent: nothing is frozen.' }),
  })
  .meta({ title: 'CSC freeze v0.1', description: 'Whether hosts run anything at all.' });

export type Revocation = z.infer<typeof entry>;
export type Freeze = z.infer<typeof frozen>;

/** Reads revoked.yaml. Gives every fault at once. */
export function parseRevoked(bytes: Uint8Array): Parsed<z.infer<typeof revokedSchema>> {
  return parseYaml(revokedSchema, bytes);
}

/** Reads freeze.yaml. Gives every fault at once. */
export function parseFreeze(bytes: Uint8Array): Parsed<z.infer<typeof freezeSchema>> {
  return parseYaml(freezeSchema, bytes);
}

function parseYaml<T extends z.ZodType>(schema: T, bytes: Uint8Array): Parsed<z.output<T>> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.ownersFile });
  return document.ok ? validate(schema, document.value satisfies JsonValue) : document;
}

/** Why nothing starts, for people. */
export function describeFreeze({ since, reason }: Freeze): string {
  return `the owners have frozen the fleet since ${since}: ${reason}`;
}

/** Why nothing runs for this any more, for people. */
export function describeRevocation({ kind, id, since, reason }: Revocation): string {
  return `the owners have revoked the ${kind} ${id} since ${since}: ${reason}`;
}

/** What an execution is to the owners' revocations. */
export interface RevocationSubject {
  readonly principal: string;
  /** The key that signed the submission. Absent: none did. */
  readonly keyId?: string;
  readonly executorId: string;
  /** What else the owners may name the host by. Absent: nothing else is known of it. */
  readonly host?: Omit<HostNames, 'executorId'> | undefined;
  readonly executionId: string;
  /** Lower-case hex. Absent: none came. */
  readonly submissionSha256?: string;
  /** The same in all forms of it: as it was handed in, and as it was signed again for one host. */
  readonly submissionNonce?: string;
  readonly profile: string;
  /** Of the token that says who its principal is. Absent: none does. */
  readonly issuer?: string;
}

/** What a host is to the owners' revocations. */
export interface HostNames {
  /** The NAME in its SPIFFE id. */
  readonly executorId: string;
  /** Its whole SPIFFE id. */
  readonly identity: string;
  /**
   * That it signs receipts with: what a stolen one signs is no evidence, and without evidence nothing may run. Absent:
   * it has none yet.
   */
  readonly receiptKey?: NamedKey;
}

/** Revocations made ready to be asked of every run. */
export interface Revocations {
  /** An entry that meets the host, whatever is to run there; as `find` has it. */
  findHost(host: HostNames): Revocation | undefined;
  /** An entry that meets the subject, one that ends what runs before one that does not; undefined where none does. */
  find(subject: RevocationSubject): Revocation | undefined;
  /** Those of keys, for key rings: every signature of such a key is void, whenever it was made. */
  revokedKeys(): ReadonlyMap<string, Date>;
  /** All of them, as the owners have them. */
  all(): readonly Revocation[];
}

/** A key by what it is called, and by what it is. */
export type NamedKey = Pick<KeyEntry, 'keyId' | 'publicKey'>;

/**
 * @param named the keys of the owners' bindings: who revokes one of them means the key, whatever else it is called there.
 *   Default: none, and a key is its id
 */
export function createRevocations(
  entries: readonly Revocation[],
  named: readonly NamedKey[] = [],
): Revocations {
  // Of two that are about the same, the one that ends what runs.
  const inOrder = [...entries].sort(
    (one, other) => Number(one.running === 'end') - Number(other.running === 'end'),
  );
  const idsOf = createKeyNames(named);
  const byName = new Map(
    inOrder.flatMap((it) =>
      (it.kind === 'key' ? idsOf(it.id) : [it.id]).map((id) => [`${it.kind} ${id}`, it]),
    ),
  );
  const keys = entries.filter(({ kind }) => kind === 'key');
  const revoked = new Map(
    keys.flatMap(({ id, since }) => idsOf(id).map((it) => [it, parseTimestamp(since) ?? new Date(0)])),
  );
  const find = (names: readonly string[]): Revocation | undefined => {
    const met = names.flatMap((name) => byName.get(name) ?? []);
    return met.find(({ running }) => running === 'end') ?? met[0];
  };
  return {
    findHost: ({ executorId, ...host }) => find(namesOfHost(executorId, host)),
    find: ({
      principal,
      keyId,
      executorId,
      host,
      executionId,
      submissionSha256,
      submissionNonce,
      profile,
      issuer,
    }) => {
      const names = [
        `principal ${principal}`,
        `key ${keyId ?? ''}`,
        ...namesOfHost(executorId, host),
        `execution ${executionId}`,
        `submission ${submissionSha256 ?? ''}`,
        `submission ${submissionNonce ?? ''}`,
        `profile ${profile}`,
        `issuer ${issuer ?? ''}`,
      ];
      return find(names);
    },
    revokedKeys: () => revoked,
    all: () => entries,
  };
}

// Whoever has a host stopped in a hurry may name it by what a certificate, a receipt or csc executors calls it.
function namesOfHost(executorId: string, host: RevocationSubject['host']): string[] {
  const own = [`host ${executorId}`];
  if (host === undefined) return own;
  const { identity, receiptKey } = host;
  const keys = receiptKey === undefined ? [] : [receiptKey.keyId, toBase64(receiptKey.publicKey)];
  return [...own, `host ${identity}`, `principal ${identity}`, ...keys.map((it) => `key ${it}`)];
}

// All that a key is called: a thief would sign under whichever of its ids is left.
function createKeyNames(named: readonly NamedKey[]): (id: string) => string[] {
  const texts = named.map(({ keyId, publicKey }) => ({ keyId, text: toBase64(publicKey) }));
  return (id) => {
    const meant = new Set(texts.filter((it) => it.keyId === id || it.text === id).map(({ text }) => text));
    return [...new Set([id, ...texts.filter(({ text }) => meant.has(text)).map(({ keyId }) => keyId)])];
  };
}
