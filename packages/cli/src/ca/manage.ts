import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { createJoinToken, hashJoinToken } from '@csc-fleet/common/ca';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import { readBoundedFile, replaceFile } from '@csc-fleet/common/files';
import { parseIdentity, toIdentityUri } from '@csc-fleet/common/identity';
import { certify, generateTlsKey } from '@csc-fleet/common/pki';
import type { Role } from '@csc-fleet/common/rpc';
import { labelName, labelValue, maxLabels } from '@csc-fleet/common/schema';
import { openAuditLog } from './audit.ts';
import { type CaConfig, readCaConfig } from './config.ts';
import { checkServerName } from './constraint-check.ts';
import { readGateKeys, readRoot } from './fleet-files.ts';
import { readCaKeys } from './folder.ts';
import { CaStore, type Grant, type Member, type StoredToken } from './store.ts';

/** What a token is to let in. */
export interface TokenWish extends Grant {
  readonly ttlMs: number;
  readonly again: boolean;
}

/** Of a token's life: who has it may join, so that it is short. */
const tokenBounds = { leastMs: 10_000, mostMs: 24 * 3600 * 1000 };

/**
 * Makes a join token, of which the hash alone is kept. Throws CONFIG_INVALID for a name, label, host or life that cannot be,
 * or where somebody of this name has joined already and `again` is not said.
 */
export async function makeToken(config: CaConfig, wish: TokenWish, now: Date): Promise<string> {
  checkWish(config, wish);
  const keys = readCaKeys(config);
  await checkIssuable(config, wish, now);
  const { text } = createJoinToken(keys.rootSha256, config.trustDomain);
  withStore(config, now, ({ store, audit }) => {
    const identity = toIdentityUri(config.trustDomain, wish.role, wish.name);
    const member = store.findMember(identity);
    if (member?.revokedAt !== undefined)
      throw new CscError('CONFIG_INVALID', `${identity} is revoked: take another name`);
    if (member !== undefined && !wish.again)
      throw new CscError(
        'CONFIG_INVALID',
        `${identity} has joined already: --again lets another take its place`,
      );
    const expiresAt = new Date(now.getTime() + wish.ttlMs);
    const token: StoredToken = { ...wish, hash: hashJoinToken(text), expiresAt };
    store.atomically(() => {
      store.addToken(token);
      audit.write({
        event: 'token',
        token_sha256: token.hash,
        identity,
        labels: wish.labels,
        ...(wish.hosts.length === 0 ? {} : { hosts: wish.hosts }),
        expires_at: expiresAt.toISOString(),
        again: wish.again,
      });
    });
  });
  return text;
}

function checkWish({ trustDomain }: CaConfig, { role, name, labels, hosts, ttlMs }: TokenWish): void {
  const uri = toIdentityUri(trustDomain, role, name);
  if (parseIdentity(uri) === undefined || withoutSecrets(name) !== name)
    throw new CscError('CONFIG_INVALID', `--name: names take letters, digits, ".", "_" and "-"`);
  if (ttlMs < tokenBounds.leastMs || ttlMs > tokenBounds.mostMs)
    throw new CscError('CONFIG_INVALID', '--ttl: a token lasts from 10 seconds to 24 hours');
  const entries = Object.entries(labels);
  if (entries.length > 0 && role !== 'executor')
    throw new CscError('CONFIG_INVALID', '--labels are of executors');
  if (entries.length > maxLabels) throw new CscError('CONFIG_INVALID', `--labels: at most ${maxLabels}`);
  for (const [label, value] of entries)
    if (!labelName.safeParse(label).success || !labelValue.safeParse(value).success)
      throw new CscError('CONFIG_INVALID', `--labels: ${JSON.stringify(`${label}=${value}`)} is no label`);
  if (role === 'gate' && hosts.length === 0)
    throw new CscError('CONFIG_INVALID', '--host: name what the gate is dialled by');
  if (role !== 'gate' && hosts.length > 0)
    throw new CscError('CONFIG_INVALID', `--host is of gates: ${role}s are not dialled`);
  for (const host of hosts)
    if (isIP(host) === 0 && !/^(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$/.test(host))
      throw new CscError('CONFIG_INVALID', `--host: ${JSON.stringify(host)} is no name or address`);
}

// By the verifier that gates' certificates will meet: better now than on the gate.
async function checkIssuable(config: CaConfig, { role, name, hosts }: TokenWish, now: Date): Promise<void> {
  if (role !== 'gate') return;
  const keys = readCaKeys(config);
  const key = generateTlsKey();
  const subject = { trustDomain: config.trustDomain, role, name, labels: {}, hosts };
  const { pem } = await certify(subject, 'tls', key, keys, { now, lifeMs: config.lifeMs });
  await checkServerName({ pem: `${pem}${keys.issuingPem}`, key, root: keys.rootPem, hosts });
}

/** What `csc ca list` shows. */
export function listCa(config: CaConfig, now: Date): { members: Member[]; tokens: StoredToken[] } {
  return withStore(config, now, ({ store }) => ({ members: store.members(), tokens: store.openTokens(now) }));
}

/**
 * Revokes a party: nothing of it is renewed from then on, and its open tokens are gone. Gives what of it the owners'
 * revoked.yaml is to name. Throws CONFIG_INVALID where nobody of that name has joined.
 */
export function revokeMember(config: CaConfig, role: Role, name: string, reason: string, now: Date): Member {
  const identity = toIdentityUri(config.trustDomain, role, name);
  return withStore(config, now, ({ store, audit }) =>
    store.atomically(() => {
      const member = store.findMember(identity);
      store.dropTokens(role, name);
      if (member === undefined)
        throw new CscError('CONFIG_INVALID', `nobody has joined as ${identity}: csc ca list shows who has`);
      if (member.revokedAt === undefined) {
        store.revoke(identity, reason, now);
        audit.write({ event: 'revoked', identity, reason });
      }
      return member;
    }),
  );
}

function withStore<T>(
  { stateDir }: CaConfig,
  now: Date,
  use: (ports: { store: CaStore; audit: ReturnType<typeof openAuditLog> }) => T,
): T {
  const store = new CaStore(stateDir);
  const audit = openAuditLog(stateDir, () => now);
  try {
    return use({ store, audit });
  } finally {
    store.close();
    audit.close();
  }
}

/** A revoked.yaml of what a party's revocation takes, whole; empty where there is nothing to revoke by it. */
export function toRevocations(
  { role, name, identity, receiptKey }: Member,
  reason: string,
  since: Date,
): string {
  const entry = (kind: string, id: string): string =>
    `  - kind: ${kind}\n    id: ${JSON.stringify(id)}\n    since: ${JSON.stringify(since.toISOString())}\n    reason: ${JSON.stringify(reason)}\n    running: end\n`;
  const entries = {
    executor: `${entry('host', name)}${receiptKey === '' ? '' : entry('key', receiptKey)}`,
    client: entry('principal', identity),
    gate: '',
  }[role];
  return entries === '' ? '' : `revoked_version: csc.revoked.v0.1\nrevoked:\n${entries}`;
}

/** What of the fleet those who join are to be given. */
export interface FleetWish {
  /** `HOST:PORT`. */
  readonly gate: string;
  readonly gateKeys: string;
  readonly policyRoot: string;
}

const maxBytes = 512 * 1024;

/**
 * Leaves with the CA what hosts pin: copies of both files beside its config, and their names under `fleet:` in it; what
 * joins from then on is given them. Gives the SHA-256 of the root. Throws FILE_UNREADABLE, FILE_UNWRITABLE, CONFIG_INVALID.
 */
export function keepFleet(config: CaConfig, { gate, gateKeys, policyRoot }: FleetWish): string {
  if (!/^[^\s"\\]+:\d{1,5}$/.test(gate)) throw new CscError('CONFIG_INVALID', '--gate must be HOST:PORT');
  const keys = readGateKeys(gateKeys);
  const root = readRoot(policyRoot);
  const dir = dirname(config.file);
  const before = readBoundedFile(config.file, { maxBytes }).bytes.toString('utf8');
  const block = `fleet:\n  gate: ${JSON.stringify(gate)}\n  gate_keys: gate-keys.json\n  policy_root: root.json\n`;
  // The member, what is indented below it, and the comment that csc ca init has written there.
  const member = /^fleet:.*\n(?:(?:[ \t]|# {2}(?:gate|policy)).*\n)*/m;
  const after = member.test(before) ? before.replace(member, () => block) : `${before.trimEnd()}\n${block}`;
  replaceFile(join(dir, 'gate-keys.json'), keys, 0o644);
  replaceFile(join(dir, 'root.json'), root, 0o644);
  replaceFile(config.file, after, 0o644);
  try {
    readCaConfig(config.file);
  } catch (error) {
    replaceFile(config.file, before, 0o644);
    throw error;
  }
  return createHash('sha256').update(root).digest('hex');
}
