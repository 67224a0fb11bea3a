import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { checkDatabase, errorCode, prepareDatabaseFile, whole } from '@csc-fleet/common/database';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import type { Role } from '@csc-fleet/common/rpc';

/** Whom a token lets in, and as what. */
export interface Grant {
  readonly role: Role;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of a gate. */
  readonly hosts: readonly string[];
}

/** A token as it is kept: nobody can join with what is here. */
export interface StoredToken extends Grant {
  readonly hash: string;
  readonly expiresAt: Date;
  /** May take the place of a party of this name. */
  readonly again: boolean;
  readonly usedAt?: Date;
  /** Hash of the keys that it was used with. */
  readonly keys?: string;
  /** What it was answered with, encoded. */
  readonly answer?: Uint8Array;
}

/** Somebody who has joined. */
export interface Member extends Grant {
  readonly identity: string;
  /** Hash of the token that it joined with: certificates of an earlier one are not renewed. */
  readonly token: string;
  /** Base64 of the 32 bytes; empty: it has none. */
  readonly receiptKey: string;
  readonly joinedAt: Date;
  readonly endsAt: Date;
  readonly revokedAt?: Date;
  readonly reason?: string;
}

/** A certificate that was issued. */
export interface StoredCertificate {
  readonly fingerprint: string;
  readonly identity: string;
  readonly token: string;
  readonly notAfter: Date;
}

const file = 'ca.sqlite';
const restore = 'stop csc ca serve and copy the file back';

const schema = `
CREATE TABLE IF NOT EXISTS token (
  hash TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL, hosts TEXT NOT NULL,
  expires_at INTEGER NOT NULL, again INTEGER NOT NULL, used_at INTEGER, keys TEXT, answer BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS member (
  identity TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL, hosts TEXT NOT NULL,
  token TEXT NOT NULL, receipt_key TEXT NOT NULL, joined_at INTEGER NOT NULL, ends_at INTEGER NOT NULL,
  revoked_at INTEGER, reason TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS certificate (
  fingerprint TEXT PRIMARY KEY, identity TEXT NOT NULL, token TEXT NOT NULL, not_after INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_end ON certificate (not_after);
`;

type Row = Record<string, SQLOutputValue>;

/** What a CA must not forget. Several processes may have it open: the service, and whoever makes tokens. */
export class CaStore {
  readonly #database: DatabaseSync;

  /** Throws STORE_UNAVAILABLE, FILE_UNWRITABLE. */
  constructor(stateDir: string) {
    makeDirectory(stateDir, { mode: 0o700 });
    const path = join(stateDir, file);
    const at = { path, restore };
    prepareDatabaseFile(at);
    this.#database = whole(at, () => {
      const database = new DatabaseSync(path, { timeout: 10_000 });
      // What was acknowledged is on disk: a token that was used stays used after a power cut.
      database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;');
      database.exec(schema);
      return database;
    });
    checkDatabase(this.#database, at);
  }

  /** All of it is on disk, or none. Throws STORE_UNAVAILABLE, and what `change` throws. */
  atomically<T>(change: () => T): T {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      const result = change();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      // A full disk makes SQLite roll back by itself.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      if (errorCode(error) === 0) throw error;
      const message =
        'the CA’s database takes no writes, and nothing was done: look at the disk of its state_dir';
      throw new CscError('STORE_UNAVAILABLE', message, { cause: error });
    }
  }

  addToken({ hash, role, name, labels, hosts, expiresAt, again }: StoredToken): void {
    this.#database
      .prepare(
        'INSERT INTO token (hash, role, name, labels, hosts, expires_at, again) VALUES (?,?,?,?,?,?,?)',
      )
      .run(
        hash,
        role,
        name,
        JSON.stringify(labels),
        JSON.stringify(hosts),
        expiresAt.getTime(),
        Number(again),
      );
  }

  findToken(hash: string): StoredToken | undefined {
    const row = this.#database.prepare('SELECT * FROM token WHERE hash = ?').get(hash);
    return row === undefined ? undefined : toToken(row);
  }

  /** Those that were not used. */
  openTokens(now: Date): StoredToken[] {
    const sql = 'SELECT * FROM token WHERE used_at IS NULL AND expires_at > ? ORDER BY expires_at';
    return this.#database.prepare(sql).all(now.getTime()).map(toToken);
  }

  useToken(hash: string, keys: string, answer: Uint8Array, now: Date): void {
    const sql = 'UPDATE token SET used_at = ?, keys = ?, answer = ? WHERE hash = ? AND used_at IS NULL';
    const { changes } = this.#database.prepare(sql).run(now.getTime(), keys, answer, hash);
    if (changes !== 1) throw new CscError('INTERNAL', 'a join token was used meanwhile');
  }

  /** Has the open tokens of a party count no more. */
  dropTokens(role: Role, name: string): void {
    this.#database.prepare('DELETE FROM token WHERE role = ? AND name = ?').run(role, name);
  }

  findMember(identity: string): Member | undefined {
    const row = this.#database.prepare('SELECT * FROM member WHERE identity = ?').get(identity);
    return row === undefined ? undefined : toMember(row);
  }

  /** Who else has joined with a receipt key. */
  ownerOfReceiptKey(key: string): string | undefined {
    const row = this.#database.prepare('SELECT identity FROM member WHERE receipt_key = ?').get(key);
    return row === undefined ? undefined : String(row['identity']);
  }

  members(): Member[] {
    return this.#database.prepare('SELECT * FROM member ORDER BY identity').all().map(toMember);
  }

  putMember({ identity, role, name, labels, hosts, token, receiptKey, joinedAt, endsAt }: Member): void {
    this.#database
      .prepare(
        `INSERT INTO member (identity, role, name, labels, hosts, token, receipt_key, joined_at, ends_at)
         VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (identity) DO UPDATE SET labels = excluded.labels,
         hosts = excluded.hosts, token = excluded.token, receipt_key = excluded.receipt_key,
         joined_at = excluded.joined_at, ends_at = excluded.ends_at`,
      )
      .run(
        ...[identity, role, name, JSON.stringify(labels), JSON.stringify(hosts), token, receiptKey],
        ...[joinedAt.getTime(), endsAt.getTime()],
      );
  }

  prolong(identity: string, endsAt: Date): void {
    this.#database
      .prepare('UPDATE member SET ends_at = ? WHERE identity = ?')
      .run(endsAt.getTime(), identity);
  }

  revoke(identity: string, reason: string, now: Date): void {
    const sql = 'UPDATE member SET revoked_at = ?, reason = ? WHERE identity = ?';
    this.#database.prepare(sql).run(now.getTime(), reason, identity);
  }

  addCertificate({ fingerprint, identity, token, notAfter }: StoredCertificate): void {
    this.#database
      .prepare('INSERT INTO certificate (fingerprint, identity, token, not_after) VALUES (?,?,?,?)')
      .run(fingerprint, identity, token, notAfter.getTime());
  }

  findCertificate(fingerprint: string): StoredCertificate | undefined {
    const row = this.#database.prepare('SELECT * FROM certificate WHERE fingerprint = ?').get(fingerprint);
    if (row === undefined) return undefined;
    const { identity, token, not_after: notAfter } = row;
    return { fingerprint, identity: String(identity), token: String(token), notAfter: toDate(notAfter) };
  }

  /** Forgets certificates that ended before, which nobody can renew, and tokens likewise; the audit log has them. */
  prune(before: Date): void {
    for (const sql of [
      'DELETE FROM certificate WHERE not_after < ?',
      'DELETE FROM token WHERE expires_at < ?',
    ])
      this.#database.prepare(sql).run(before.getTime());
  }

  close(): void {
    this.#database.close();
  }
}

function toGrant(row: Row): Grant {
  const { role, name, labels, hosts } = row;
  return {
    role: toRole(role),
    name: String(name),
    labels: JSON.parse(String(labels)) as Record<string, string>,
    hosts: JSON.parse(String(hosts)) as string[],
  };
}

function toToken(row: Row): StoredToken {
  const { hash, expires_at: expiresAt, again, used_at: usedAt, keys, answer } = row;
  return {
    ...toGrant(row),
    hash: String(hash),
    expiresAt: toDate(expiresAt),
    again: again === 1,
    ...(usedAt === null ? {} : { usedAt: toDate(usedAt), keys: String(keys) }),
    ...(answer instanceof Uint8Array ? { answer } : {}),
  };
}

function toMember(row: Row): Member {
  const { identity, token, receipt_key: receiptKey, joined_at: joinedAt, ends_at: endsAt } = row;
  const { revoked_at: revokedAt, reason } = row;
  return {
    ...toGrant(row),
    identity: String(identity),
    token: String(token),
    receiptKey: String(receiptKey),
    joinedAt: toDate(joinedAt),
    endsAt: toDate(endsAt),
    ...(revokedAt === null ? {} : { revokedAt: toDate(revokedAt), reason: String(reason) }),
  };
}

function toRole(value: SQLOutputValue | undefined): Role {
  if (value === 'client' || value === 'gate' || value === 'executor') return value;
  throw new CscError('STORE_UNAVAILABLE', 'the CA’s database has a party of an unknown role');
}

function toDate(value: SQLOutputValue | undefined): Date {
  return new Date(Number(value));
}
