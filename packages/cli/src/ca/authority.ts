import { createHash, type KeyObject } from 'node:crypto';
import { hashJoinToken, joinPurpose, renewPurpose } from '@csc-fleet/common/ca';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { identityOfCertificate, toIdentityUri } from '@csc-fleet/common/identity';
import { certify, fingerprintOf, type Issued, readRequest } from '@csc-fleet/common/pki';
import type { AuditLog } from './audit.ts';
import type { CaKeys } from './folder.ts';
import type { CaStore, Grant, Member, StoredToken } from './store.ts';

/** What the CA decides and issues with. */
export interface AuthorityPorts {
  readonly keys: CaKeys;
  readonly trustDomain: string;
  readonly lifeMs: number;
  readonly store: CaStore;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** What is asked for: certificate requests in DER. */
export interface Requested {
  readonly tlsRequest: Uint8Array;
  /** Empty: none. */
  readonly receiptRequest: Uint8Array;
}

/** What whoever joins says of itself, as it came. */
export interface Caller {
  /** Empty: nothing of it. */
  readonly identity: string;
  /** Empty: not said. */
  readonly role: string;
  /** By its clock. */
  readonly at: Date | undefined;
}

/** What was issued to a party. */
export interface IssuedPair {
  readonly tls: Issued;
  readonly receipts?: Issued;
}

/**
 * Lets in whoever has a join token, as what the token says. `encode` makes the answer, which is kept with the token in the
 * same moment in which the token is used up: whoever asks again with the same keys gets it again. Throws JOIN_REFUSED,
 * REQUEST_INVALID, NOT_PERMITTED.
 * @param from who asks, for the audit log
 */
export async function join(
  ports: AuthorityPorts,
  asked: Requested & { readonly token: string } & Partial<Caller>,
  from: string,
  encode: (issued: IssuedPair, grant: Grant) => Uint8Array,
): Promise<Uint8Array> {
  const { store, clock, audit } = ports;
  const hash = hashJoinToken(asked.token);
  const now = clock.now();
  const token = store.findToken(hash);
  // Before anything of the request is read.
  if (token === undefined || now >= token.expiresAt) throw refused('it has ended, or is none of this CA’s');
  checkIsSame(identityOf(ports, token), asked.identity);
  checkRole(token, asked.role);
  const keys = await readKeys(asked, token, joinPurpose(asked.token));
  const used = answerAgain(token, keys);
  if (used !== undefined) return used;
  checkMayJoin(ports, token, keys);
  const issued = await issue(ports, token, keys, now);
  checkClock(issued, asked.at, now);
  const answer = encode(issued, token);
  return store.atomically(() => {
    // Once more, now that nobody else can: of two that came at once, one is first.
    const current = store.findToken(hash);
    if (current === undefined) throw refused('it has ended, or is none of this CA’s');
    const earlier = answerAgain(current, keys);
    if (earlier !== undefined) return earlier;
    checkMayJoin(ports, current, keys);
    const identity = identityOf(ports, token);
    store.useToken(hash, keys.hash, answer, now);
    store.putMember({
      ...token,
      identity,
      token: hash,
      receiptKey: keys.receiptKey,
      joinedAt: now,
      endsAt: issued.tls.notAfter,
    });
    keep(ports, issued, { identity, token: hash }, { event: 'joined', from, labels: token.labels });
    return answer;
  });

  function answerAgain(known: StoredToken, { hash: keysHash }: RequestedKeys): Uint8Array | undefined {
    if (known.usedAt === undefined) return undefined;
    if (known.keys === keysHash && known.answer !== undefined) return known.answer;
    audit.write({
      event: 'refused',
      why: 'token used with other keys',
      role: known.role,
      name: known.name,
      from,
    });
    throw refused('it was used already, with other keys: if not by this host, revoke what joined with it');
  }
}

/**
 * Renews the certificate that a call came with: for the same name, labels and purposes, and no others. Throws
 * JOIN_REFUSED where another one has taken its place, NOT_PERMITTED where its party is revoked, REQUEST_INVALID.
 * @param certificate DER, which the handshake has verified
 */
export async function renew(
  ports: AuthorityPorts,
  asked: Requested,
  certificate: Uint8Array,
  from: string,
): Promise<IssuedPair> {
  const { store, clock } = ports;
  const now = clock.now();
  const fingerprint = fingerprintOf(certificate);
  const { uri } = identityOfCertificate(certificate);
  const member = checkMayRenew(ports, fingerprint, uri);
  const keys = await readKeys(asked, member, renewPurpose(fingerprint));
  checkReceiptKey(member, keys);
  const issued = await issue(ports, member, keys, now);
  return store.atomically(() => {
    const { identity, token } = checkMayRenew(ports, fingerprint, uri);
    store.prolong(identity, issued.tls.notAfter);
    store.prune(new Date(now.getTime() - 24 * 60 * 60 * 1000));
    keep(ports, issued, { identity, token }, { event: 'renewed', from });
    return issued;
  });
}

function checkMayRenew({ store }: AuthorityPorts, fingerprint: string, uri: string): Member {
  const certificate = store.findCertificate(fingerprint);
  const member = certificate === undefined ? undefined : store.findMember(certificate.identity);
  if (certificate === undefined || member === undefined || member.identity !== uri)
    throw new CscError(
      'JOIN_REFUSED',
      'this certificate was not issued to whoever joined here: join with a new token',
    );
  if (member.revokedAt !== undefined)
    throw new CscError('NOT_PERMITTED', `${member.identity} is revoked, and gets no further certificate`);
  if (member.token !== certificate.token)
    throw new CscError(
      'JOIN_REFUSED',
      `${member.identity} has joined anew since: this certificate is renewed no more`,
    );
  return member;
}

// Who has taken a TLS key alone could have receipts of its own making believed.
function checkReceiptKey({ receiptKey }: Member, keys: RequestedKeys): void {
  if (receiptKey === keys.receiptKey) return;
  const message =
    'the receipt key is not the one that joined: another takes another token (csc ca token --again)';
  throw new CscError('REQUEST_INVALID', message);
}

function checkMayJoin(ports: AuthorityPorts, token: StoredToken, keys: RequestedKeys): void {
  const { store } = ports;
  const identity = identityOf(ports, token);
  const member = store.findMember(identity);
  if (member?.revokedAt !== undefined)
    throw new CscError('NOT_PERMITTED', `${identity} is revoked: take another name`);
  if (member !== undefined && !token.again)
    throw refused(`${identity} has joined already; csc ca token --again lets another take its place`);
  const owner = keys.receiptKey === '' ? undefined : store.ownerOfReceiptKey(keys.receiptKey);
  if (owner !== undefined && owner !== identity)
    throw new CscError('REQUEST_INVALID', 'this receipt key is that of another host');
}

// Who joins again and takes the token of another by mistake would be that one from then on, with the state of the first.
function checkIsSame(identity: string, known = ''): void {
  if (known === '' || known === identity) return;
  const message = `it is of ${identity}, and here is ${known}: take a token for that name, or another --dir. It is not used up`;
  throw refused(message);
}

// Whoever asks could not use what it gets.
function checkRole(token: Grant, role = ''): void {
  if (role !== '' && role !== token.role) throw otherRole(token, `not for a ${role.slice(0, 20)}`);
}

function otherRole({ role, name }: Pick<Grant, 'role' | 'name'>, what: string): CscError {
  const command = role === 'client' ? 'csc ca join' : `csc ${role} join`;
  const message = `the token is for the ${role} ${name}, ${what}: ${command} takes it, and it is not used up`;
  return new CscError('REQUEST_INVALID', message);
}

function checkClock({ tls: { notBefore, notAfter } }: IssuedPair, at: Date | undefined, now: Date): void {
  if (at === undefined || (at >= notBefore && at < notAfter)) return;
  const sec = Math.round(Math.abs(at.getTime() - now.getTime()) / 1000);
  const message = `its clock is ${sec} s ${at < now ? 'behind' : 'ahead of'} the CA’s, and no certificate of now would be good there: set the clocks right. It is not used up`;
  throw refused(message);
}

function identityOf({ trustDomain }: AuthorityPorts, { role, name }: Grant): string {
  return toIdentityUri(trustDomain, role, name);
}

interface RequestedKeys {
  readonly tls: KeyObject;
  readonly receipts?: KeyObject;
  /** Base64 of the 32 bytes; empty where there is none. */
  readonly receiptKey: string;
  /** Of both. */
  readonly hash: string;
}

async function readKeys(
  { tlsRequest, receiptRequest }: Requested,
  { role, name }: Pick<Grant, 'role' | 'name'>,
  purpose: string,
): Promise<RequestedKeys> {
  const isExecutor = role === 'executor';
  if (isExecutor !== receiptRequest.length > 0)
    throw otherRole({ role, name }, `which ${isExecutor ? 'has a receipt key, too' : 'signs no receipts'}`);
  const tls = await readRequest(tlsRequest, 'tls', purpose);
  const receipts = isExecutor ? await readRequest(receiptRequest, 'receipts', purpose) : undefined;
  const both = createHash('sha256').update(spki(tls));
  if (receipts === undefined) return { tls, receiptKey: '', hash: both.digest('hex') };
  const { x = '' } = receipts.export({ format: 'jwk' });
  const receiptKey = Buffer.from(x, 'base64url').toString('base64');
  return { tls, receipts, receiptKey, hash: both.update(spki(receipts)).digest('hex') };
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

async function issue(
  { keys: issuer, trustDomain, lifeMs }: AuthorityPorts,
  { role, name, labels, hosts }: Grant,
  { tls, receipts }: RequestedKeys,
  now: Date,
): Promise<IssuedPair> {
  const subject = { trustDomain, role, name, labels, hosts };
  const life = { now, lifeMs };
  return {
    tls: await certify(subject, 'tls', tls, issuer, life),
    ...(receipts === undefined
      ? {}
      : { receipts: await certify(subject, 'receipts', receipts, issuer, life) }),
  };
}

// Within the transaction, and the line before its end: what was handed out is on record, if need be twice.
function keep(
  { store, audit }: AuthorityPorts,
  { tls, receipts }: IssuedPair,
  owner: { readonly identity: string; readonly token: string },
  said: { readonly event: 'joined' | 'renewed'; readonly from: string; readonly labels?: object },
): void {
  store.addCertificate({ ...owner, fingerprint: tls.fingerprint, notAfter: tls.notAfter });
  audit.write({
    ...said,
    identity: owner.identity,
    token_sha256: owner.token,
    serial: tls.serial,
    sha256: tls.fingerprint,
    ...(receipts === undefined
      ? {}
      : { receipt_serial: receipts.serial, receipt_sha256: receipts.fingerprint }),
    not_after: tls.notAfter.toISOString(),
  });
}

function refused(why: string): CscError {
  return new CscError('JOIN_REFUSED', `the join token does not count: ${why}`);
}
