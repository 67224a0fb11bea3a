import * as z from 'zod';
import { createKeyRing, type KeyRing, type Signer } from '../crypto/index.ts';
import { canonicalBytes, parseStrictJson, parseTimestamp, sha256Hex } from '../encoding/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { parseResolution, type Resolution, type ResolutionSubject } from '../resolution/index.ts';
import { signArtifact, verifyArtifact } from './artifact.ts';

/** Who signs the files of the owners: what hosts may run, what is revoked, and that an execution is over. */
export interface OwnersKeys {
  /** By the ids that TUF gives keys. */
  readonly keys: KeyRing;
  /** How many of them must sign. */
  readonly threshold: number;
}

/** The id of a key in a policy repository: the hash of it (TUF §4.2). */
export function ownersKeyId(publicKey: Uint8Array): string {
  return sha256Hex(canonicalBytes(toTufKey(Buffer.from(publicKey).toString('hex'))));
}

function toTufKey(hex: string) {
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: hex } };
}

const key = z.object({ keyval: z.object({ public: z.string().regex(/^[0-9a-f]{64}$/) }) });
const rootSchema = z.object({
  signed: z.object({
    _type: z.literal('root'),
    keys: z.record(z.string(), key),
    roles: z.object({
      targets: z.object({ keyids: z.array(z.string()).max(1000), threshold: z.int().min(1) }),
    }),
  }),
});

/**
 * The keys that a root of a policy repository names for the owners' files. The root is taken as it is: whoever pins one, or
 * has verified it from there, vouches for it. Throws KEY_INVALID for what is no root.
 */
export function readOwnersKeys(rootJson: Uint8Array): OwnersKeys {
  const json = parseStrictJson(rootJson, { maxBytes: maxRootBytes });
  const parsed = json.ok ? rootSchema.safeParse(json.value) : undefined;
  if (parsed?.success !== true)
    throw new CscError(
      'KEY_INVALID',
      'this is no root.json of a policy repository: csc policy init makes one',
    );
  const { keys, roles } = parsed.data.signed;
  // Under the id that belongs to it, so that no key signs twice.
  const publicKeys = roles.targets.keyids.flatMap((id) => keys[id]?.keyval.public ?? []);
  const entries = [...new Set(publicKeys)].map((hex) => {
    const publicKey = Buffer.from(hex, 'hex');
    return { keyId: ownersKeyId(publicKey), publicKey };
  });
  return { keys: createKeyRing(entries), threshold: roles.targets.threshold };
}

const maxRootBytes = 512_000;

/** One owner's word, as it leaves: canonical JSON. */
export function signResolution(
  subject: ResolutionSubject,
  reason: string,
  signer: Signer,
  now: Date,
): Buffer {
  return signArtifact({ resolution_version: 'csc.resolution.v0.1', ...subject, reason }, signer, now);
}

/** What an execution is known by to whoever opens a resolution of it. */
export interface ResolutionContext {
  readonly owners: OwnersKeys;
  readonly executionId: string;
  /** Hex, in either case. */
  readonly contractSha256: string;
  /** Absent: it is not known here. */
  readonly trustDomain?: string | undefined;
  /** The NAME of the executor that has it: what was signed of another host is not of what runs on this one. Absent: any. */
  readonly executorId?: string | undefined;
  /**
   * When it was asked for: what was signed before is of an earlier run, whatever that was called. Absent: that is not known
   * here.
   */
  readonly askedAt?: Date | undefined;
  /**
   * When it is handed in: it must have been signed within the 24 hours before. Absent: it has been, and is read again, for
   * which it is never too old.
   */
  readonly handedInAt?: Date;
}

/** The word of enough of the owners. */
export interface GenuineResolution {
  /** Of whoever signed last. */
  readonly reason: string;
  readonly signedAt: Date;
  /** Who signed, in the order in which it came. */
  readonly keyIds: readonly string[];
}

const maxAgeMs = 24 * 3_600_000;
const skewMs = 60_000;

/**
 * A resolution of this execution: as many artifacts as owners must sign, each of another owner's key. Throws
 * RESOLUTION_INVALID.
 */
export function openResolution(texts: readonly Uint8Array[], context: ResolutionContext): GenuineResolution {
  const signed = texts.map((text) => openOne(text, context));
  const keyIds = [...new Set(signed.map(({ signature }) => signature.key_id))];
  const { threshold } = context.owners;
  const last = signed.toSorted((a, b) => signedAt(a) - signedAt(b)).at(-1);
  if (keyIds.length < threshold || last === undefined)
    throw invalid(`${keyIds.length} of the owners have signed it, and ${threshold} must`);
  return { reason: last.reason, signedAt: new Date(signedAt(last)), keyIds };
}

function openOne(text: Uint8Array, context: ResolutionContext): Resolution {
  const resolution = orThrow(parseResolution(text), 'RESOLUTION_INVALID', 'the resolution');
  try {
    verifyArtifact(resolution, context.owners.keys);
  } catch (error) {
    if (!isCscError(error)) throw error;
    throw invalid(`it is not signed with a key of the owners: ${error.message}`, error);
  }
  const { trustDomain = resolution.trust_domain, executionId, contractSha256, handedInAt } = context;
  if (resolution.trust_domain !== trustDomain) throw invalid('it is for another trust domain');
  if (resolution.execution_id !== executionId) throw invalid('it is of another execution');
  if (resolution.contract_sha256.toLowerCase() !== contractSha256.toLowerCase())
    throw invalid('it is of another contract');
  const { executor_id: host = context.executorId } = resolution;
  if (context.executorId !== undefined && host !== context.executorId)
    throw invalid(`it is of a host that does not have it: ${context.executorId} has`);
  if (context.askedAt !== undefined && !(signedAt(resolution) >= context.askedAt.getTime()))
    throw invalid('it was signed before this run was asked for');
  if (handedInAt !== undefined) checkAge(resolution, handedInAt);
  return resolution;
}

function checkAge(resolution: Resolution, now: Date): void {
  const age = now.getTime() - signedAt(resolution);
  if (age > maxAgeMs) throw invalid('it was signed more than 24 hours ago: sign it again');
  if (!(age >= -skewMs)) throw invalid('it was signed later than it is now: check the clocks');
}

function signedAt({ signature }: Resolution): number {
  return parseTimestamp(signature.signed_at)?.getTime() ?? Number.NaN;
}

function invalid(why: string, cause?: CscError): CscError {
  return new CscError('RESOLUTION_INVALID', `the resolution was refused: ${why}`, cause && { cause });
}
