import * as z from 'zod';
import {
  defaultKeyId,
  type PersonPublicKey,
  parseBase64,
  parsePublicKey,
  parseSshPublicKey,
  toBase64,
} from '../crypto/index.ts';
import { artifactBytes, parseTimestamp } from '../encoding/index.ts';
import { type Parsed, parsed } from '../errors/index.ts';
import {
  boundedText,
  groupName,
  integer,
  timestamp,
  uniqueList,
  validate,
  versionMember,
} from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';
import { maxBreakGlassSec, personMember } from './schema.ts';

/** A key that a person signs approvals with. */
export interface ApproverKey extends PersonPublicKey {
  readonly keyId: string;
  /** Whether a security key must say of each signature that somebody touched it. */
  readonly touch: boolean;
  /** Absent: since ever. */
  readonly notBefore?: Date;
  /** Absent: for ever. */
  readonly notAfter?: Date;
  /** Set: nothing that it signed counts any more. */
  readonly revokedAt?: Date;
}

const publicKey = z
  .string()
  .max(4096)
  .transform((text, context): PersonPublicKey => {
    const key = readKey(text.trim());
    if (key.ok) return key.value;
    for (const { message } of key.faults) context.addIssue({ code: 'custom', message });
    return z.NEVER;
  })
  .meta({
    description:
      'A line of authorized_keys (ssh-ed25519, sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com), or an Ed25519 key as SPKI PEM, or as 32 bytes in base64 or hex.',
  });

function readKey(text: string): Parsed<PersonPublicKey> {
  if (/^(?:sk-)?(?:ssh|ecdsa)-/.test(text)) return parseSshPublicKey(text);
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : parseBase64(text);
  const key = parsePublicKey(text.includes('-----') ? Buffer.from(text) : (bytes ?? new Uint8Array()));
  return key.ok ? parsed({ kind: 'ed25519', publicKey: key.value }) : key;
}

const keyMember = z.strictObject({
  key_id: boundedText({ min: 1, max: 256 })
    .exactOptional()
    .meta({ description: 'Absent: the name of the approver and 16 hex digits of the hash of the key.' }),
  public_key: publicKey,
  touch: z.boolean().default(true).meta({
    description: 'Of a security key: whether it must say of each signature that somebody touched it.',
  }),
  not_before: timestamp.exactOptional(),
  not_after: timestamp.exactOptional(),
});

const approver = z.strictObject({
  identity: personMember.meta({
    description: 'As whom this person calls the gate, and is called in approvals.',
  }),
  also: uniqueList(personMember, 0).default([]).meta({
    uniqueItems: true,
    description: 'Other identities of the same person: what they submit, this person cannot approve.',
  }),
  keys: z.array(keyMember).min(1).max(32),
});

const group = z.strictObject({
  name: groupName,
  members: uniqueList(personMember, 1).meta({ uniqueItems: true, description: 'Identities of approvers.' }),
});

const breakGlass = z.strictObject({
  groups: uniqueList(groupName, 1).meta({
    uniqueItems: true,
    description:
      'Whose members may have one submission run without its approvals. They are for nothing else.',
  }),
  max_sec: integer({ min: 60, max: maxBreakGlassSec })
    .default(maxBreakGlassSec)
    .meta({ description: 'How long such a word counts at most.' }),
});

const approversFile = z.strictObject({
  approvers_version: versionMember('approvers', 'csc.approvers.v0.1'),
  approvers: z.array(approver).max(10_000),
  groups: z.array(group).max(1000),
  break_glass: breakGlass.exactOptional().meta({ description: 'Absent: nobody can.' }),
});

/** The rules of approvers.yaml. */
export const approversSchema = approversFile.superRefine(refinePeople).meta({
  title: 'CSC approvers v0.1',
  description: 'Who may approve, with which keys, and in which groups.',
});

type ApproversFile = z.infer<typeof approversFile>;

/** A person who may approve. */
export interface Approver {
  readonly identity: string;
  readonly also: readonly string[];
  readonly keys: readonly ApproverKey[];
  /** Names of the groups that have this member. */
  readonly groups: readonly string[];
}

/** Who may approve, made ready to be asked of every approval. */
export interface Approvers {
  /** By `identity` alone. */
  find(identity: string): Approver | undefined;
  /** By `identity` or one of `also`: who a submitter is, as far as the owners say. */
  personOf(principal: string): Approver | undefined;
  all(): readonly Approver[];
  /** Names, in the order of the file. */
  groups(): readonly string[];
  /** Absent: nobody can break the glass. */
  readonly breakGlass?: { readonly groups: readonly string[]; readonly maxSec: number };
}

/** Reads approvers.yaml. Gives every fault at once. */
export function parseApprovers(bytes: Uint8Array): Parsed<Approvers> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  if (!document.ok) return document;
  const file = validate(approversSchema, document.value);
  return file.ok ? parsed(toApprovers(file.value)) : file;
}

/**
 * The same without the people whom the owners have revoked, and with their revoked keys marked so.
 */
export function withoutRevoked(
  approvers: Approvers,
  revocations: {
    revokedKeys(): ReadonlyMap<string, Date>;
    all(): readonly { readonly kind: string; readonly id: string }[];
  },
): Approvers {
  const keys = revocations.revokedKeys();
  const principals = new Set(revocations.all().flatMap(({ kind, id }) => (kind === 'principal' ? [id] : [])));
  const mark = (key: ApproverKey): ApproverKey => {
    const revokedAt = keys.get(key.keyId) ?? keys.get(toBase64(key.publicKey));
    return revokedAt === undefined ? key : { ...key, revokedAt };
  };
  const people = approvers
    .all()
    .filter(({ identity, also }) => ![identity, ...also].some((it) => principals.has(it)))
    .map((it) => ({ ...it, keys: it.keys.map(mark) }));
  return index(people, approvers.groups(), approvers.breakGlass);
}

function toApprovers({ approvers, groups, break_glass: glass }: ApproversFile): Approvers {
  const people = approvers.map(
    ({ identity, also, keys }): Approver => ({
      identity,
      also,
      keys: keys.map((it) => toKey(identity, it)),
      groups: groups.filter(({ members }) => members.includes(identity)).map(({ name }) => name),
    }),
  );
  const names = groups.map(({ name }) => name);
  return index(
    people,
    names,
    glass === undefined ? undefined : { groups: glass.groups, maxSec: glass.max_sec },
  );
}

function index(
  people: readonly Approver[],
  groups: readonly string[],
  breakGlass: Approvers['breakGlass'],
): Approvers {
  const byIdentity = new Map(people.map((it) => [it.identity, it]));
  const byPrincipal = new Map(people.flatMap((it) => [it.identity, ...it.also].map((name) => [name, it])));
  return {
    find: (identity) => byIdentity.get(identity),
    personOf: (principal) => byPrincipal.get(principal),
    all: () => people,
    groups: () => groups,
    ...(breakGlass === undefined ? {} : { breakGlass }),
  };
}

function toKey(identity: string, it: z.infer<typeof keyMember>): ApproverKey {
  const { key_id: keyId = defaultKeyId(identity, it.public_key.publicKey), touch } = it;
  const [notBefore, notAfter] = [it.not_before, it.not_after].map((text) => parseTimestamp(text ?? ''));
  return {
    ...it.public_key,
    keyId,
    touch,
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(notAfter === undefined ? {} : { notAfter }),
  };
}

// A person or a key that stood for two would be counted twice.
function refinePeople(file: ApproversFile, context: z.core.$RefinementCtx): void {
  const seen = new Map<string, string>();
  const once = (what: string, path: readonly (string | number)[], message: string): void => {
    const earlier = seen.get(what);
    if (earlier === undefined) seen.set(what, path.join('.'));
    else
      context.addIssue({
        code: 'custom',
        path: [...path],
        message: `${message}: it stands at ${earlier} already`,
      });
  };
  for (const [at, { identity, also, keys }] of file.approvers.entries()) {
    once(`person ${identity}`, ['approvers', at, 'identity'], 'is another approver’s');
    for (const [index, it] of also.entries())
      once(`person ${it}`, ['approvers', at, 'also', index], 'is another approver’s');
    for (const [index, it] of keys.entries()) {
      const { keyId, publicKey: bytes } = toKey(identity, it);
      once(`key id ${keyId}`, ['approvers', at, 'keys', index, 'key_id'], 'is another key’s');
      once(
        `key ${toBase64(bytes)}`,
        ['approvers', at, 'keys', index, 'public_key'],
        'is another approver’s, or twice here',
      );
    }
  }
  const people = new Set(file.approvers.map(({ identity }) => identity));
  for (const [at, { name, members }] of file.groups.entries()) {
    once(`group ${name}`, ['groups', at, 'name'], 'is another group’s');
    for (const [index, member] of members.entries())
      if (!people.has(member))
        context.addIssue({
          code: 'custom',
          path: ['groups', at, 'members', index],
          message: 'is the identity of no approver',
        });
  }
  const names = new Set(file.groups.map(({ name }) => name));
  for (const [at, name] of (file.break_glass?.groups ?? []).entries())
    if (!names.has(name))
      context.addIssue({
        code: 'custom',
        path: ['break_glass', 'groups', at],
        message: 'there is no such group',
      });
}
