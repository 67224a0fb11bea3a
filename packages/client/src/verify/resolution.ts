import { CscError } from '@csc-fleet/common/errors';
import { type OwnersKeys, openResolution, type ResolutionContext } from '@csc-fleet/common/evidence';
import { parseResolution } from '@csc-fleet/common/resolution';

/** Whom a client believes that nobody waits for an execution any more. */
export interface OwnersTrust {
  readonly owners: OwnersKeys;
  /** Undefined: it is not known here, and not looked at. */
  readonly trustDomain: string | undefined;
}

/** That the owners have ended an execution whose executor does not come back: what of it ran, nobody knows. */
export interface ExecutionResolution {
  /**
   * True where enough of the owners have signed it, by the root that this client was given (`ownersRoot`). False: it was
   * given none, and only the gate says so.
   */
  readonly verified: boolean;
  /** For people. */
  readonly reason: string;
  readonly signedAt: Date | undefined;
  /** Who signed. Empty where that is not verified. */
  readonly keyIds: readonly string[];
}

/**
 * What the owners have signed of this execution; undefined where there is nothing. Throws RESOLUTION_INVALID where the
 * owners' keys are known, and have not signed that of it.
 */
export function readResolution(
  texts: readonly Uint8Array[],
  trust: OwnersTrust | undefined,
  subject: Pick<ResolutionContext, 'executionId' | 'contractSha256' | 'askedAt'>,
): ExecutionResolution | undefined {
  if (texts.length === 0) return undefined;
  if (trust !== undefined) return { verified: true, ...openResolution(texts, { ...trust, ...subject }) };
  const said = parseResolution(texts[0] ?? new Uint8Array());
  const reason = said.ok ? said.value.reason : '';
  return { verified: false, reason, signedAt: undefined, keyIds: [] };
}

/** Why there is no receipt, for people: whose word that is. */
export function describeResolution({ verified, reason }: ExecutionResolution): string {
  return verified
    ? `the owners have resolved it, as its executor does not come back, and what of it ran nobody knows: ${reason}`
    : `the owners have resolved it: ${reason} (the gate alone says so; what they signed verifies with their root.json: --owners-root, or ownersRoot of connect)`;
}

/** Throws CONFIG_INVALID where it is no root. */
export function noRoot(origin: string, cause: unknown): CscError {
  return new CscError('CONFIG_INVALID', `${origin} is no root.json of a policy repository`, { cause });
}
