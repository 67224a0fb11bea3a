import { createKeyRing, parseBase64, type Signer, toBase64 } from '../crypto/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { type ExecutorKeyStatement, parseExecutorKey } from '../executor-key/index.ts';
import { signArtifact, type Unsigned, verifyArtifact } from './artifact.ts';

/** What a statement must be about. */
export interface ClaimedKey {
  /** The whole SPIFFE id of the executor that hands it in, from its certificate. */
  readonly executor: string;
  readonly keyId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** What an executor says Hello with: canonical JSON. */
export function signExecutorKey(executor: string, signer: Signer, now: Date): Buffer {
  const statement: Unsigned<ExecutorKeyStatement> = {
    executor_key_version: 'csc.executor-key.v0.1',
    executor,
    key_id: signer.keyId,
    public_key: toBase64(signer.publicKey),
  };
  return signArtifact(statement, signer, now);
}

/**
 * Proof that this executor holds the private half of the key that it claims: without it, it could claim another's, and
 * receipts that it never signed would be shown as its own. A statement may be used again, by the same executor for the
 * same key alone, so that it needs no date. Throws CREDENTIALS_INVALID.
 */
export function verifyExecutorKey(bytes: Uint8Array, { executor, keyId, publicKey }: ClaimedKey): void {
  const statement = orThrow(parseExecutorKey(bytes), 'CREDENTIALS_INVALID', 'receipt_key_statement_json');
  const stated = parseBase64(statement.public_key);
  const isSame = stated !== undefined && Buffer.from(stated).equals(publicKey);
  if (statement.executor !== executor || statement.key_id !== keyId || !isSame)
    throw invalid('it is about another executor or another key');
  try {
    verifyArtifact(statement, createKeyRing([{ keyId, publicKey }]));
  } catch (cause) {
    if (!isCscError(cause)) throw cause;
    throw invalid('it is not signed with the key that it names', cause);
  }
}

function invalid(why: string, cause?: CscError): CscError {
  const message = `receipt_key_statement_json does not prove that the executor holds its receipt key: ${why}`;
  return new CscError('CREDENTIALS_INVALID', message, cause === undefined ? {} : { cause });
}
