import { CscError } from '@csc-fleet/common/errors';

export interface ReadOptions {
  /** Gives up on the secret: the read then throws CANCELLED. */
  readonly signal?: AbortSignal;
}

/** Where a host's secrets come from. */
export interface SecretProvider {
  /**
   * The value of a secret, in a buffer of its own that the caller may overwrite; at most `maxSecretBytes`, perhaps
   * empty. Nothing is kept: each read asks again, so that a rotated secret counts at once.
   *
   * Throws CONTRACT_INVALID for what is no name of a secret, CANCELLED, and SANDBOX_UNAVAILABLE with what to do for all
   * else, a secret that this host does not have included: another host may have it. (HOST_CEILING_EXCEEDED is for
   * secrets that this host has been told not to give, which is not for a provider to say.) No error holds a value.
   */
  read(name: string, options?: ReadOptions): Promise<Buffer>;
  /**
   * Tries what it stands on, as far as this host can tell at once: directory, owner and modes, the token's file. Throws
   * SANDBOX_UNAVAILABLE.
   */
  check?(): void;
  /** The same, and asks the store. Absent: there is nobody to ask. */
  probe?(signal: AbortSignal): Promise<void>;
  /** What of it a run that asked for it would be refused for now, for the owner: names and no values. */
  warnings?(): readonly string[];
  close?(): void;
  /**
   * Files and directories of this host that hold secrets, or what gives them, by the member of the config that names them: no
   * job may read them. Absent: there are none.
   */
  readonly places?: Readonly<Record<string, string>>;
}

/** In bytes: ample for keys and certificate chains, and little enough to search all output for. */
export const maxSecretBytes = 64 * 1024;

/**
 * A name becomes a file name, a part of a URL and a path in the sandbox, so it may hold only what means nothing in any
 * of them; `.` and `..` and what starts like an option are out with the first character.
 */
const secretName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Throws CONTRACT_INVALID (names come from contracts, and no host can have such a secret) before anything is asked. */
export function checkSecretName(name: string): void {
  if (secretName.test(name) && !name.includes('..')) return;
  throw new CscError(
    'CONTRACT_INVALID',
    `${JSON.stringify(name)} is not the name of a secret: it takes 1 to 128 letters, digits, "_", "-" and ".", no ".." and no "-" or "." at the start`,
  );
}

const byteOrderMark = Buffer.from('\ufeff');

/**
 * Throws SANDBOX_UNAVAILABLE for a value with what an editor on Windows adds and nobody means: every server refuses a
 * header with it. Within a value of several lines it is left alone.
 */
export function checkText(name: string, value: Buffer): void {
  if (value.at(-1) === 0x0d)
    throw unavailable(`the value of the secret ${name} ends with a carriage return (\\r): store it without`);
  if (value.subarray(0, byteOrderMark.length).equals(byteOrderMark))
    throw unavailable(`the value of the secret ${name} begins with a byte order mark: store it without`);
}

/**
 * A secret cannot be had on this host before its owner has done something; `cause` is logged and must hold no value and no
 * token.
 */
export function unavailable(message: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', message, { isLasting: true, ...toCause(cause) });
}

/** The same of a store that does not answer now, and may soon. */
export function unreachable(message: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', message, toCause(cause));
}

function toCause(cause: unknown): { readonly cause?: unknown } {
  return cause === undefined ? {} : { cause };
}

/** Throws CANCELLED where nobody waits for the secret any more. */
export function checkNotCancelled(name: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CscError('CANCELLED', `the secret ${name} is no longer wanted`);
}

/**
 * A copy (of text: as UTF-8) in memory of its own. Buffer.from gives out pieces of a pool that all of the process gets
 * pieces of, so that whatever holds one of them holds the neighbours too.
 */
export function ownBuffer(content: Buffer | string): Buffer {
  const copy = Buffer.alloc(Buffer.byteLength(content));
  if (typeof content === 'string') copy.write(content);
  else content.copy(copy);
  return copy;
}
