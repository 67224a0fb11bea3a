import { describeRevocation, type HostNames, type Revocation } from '@csc-fleet/common/owners';
import type { Log } from '@csc-fleet/common/service';
import type { Owners } from '../admission/owners.ts';

/** What tells whether the owners have revoked this host. */
export interface RevokedPorts {
  readonly owners: Owners;
  /** As they are now: a host may get another receipt key while it runs. */
  readonly names: () => HostNames;
  readonly log: Log;
}

/**
 * Gives, each time that it is called, the entry of the owners' revoked.yaml that stops this host; undefined where none does.
 * Its log is told of each change: who looks for why nothing runs there looks into it first.
 */
export function watchRevocation({ owners, names, log }: RevokedPorts): () => Revocation | undefined {
  let told: string | undefined;
  return () => {
    const found = owners.current().revocations?.findHost(names());
    const said = found === undefined ? undefined : describeRevoked(found).detail;
    if (said !== told) {
      if (found === undefined) log.info({}, 'the owners no longer revoke this host: runs are taken again');
      else log.error({ why: describeRevokedWhole(found) }, revokedNote);
    }
    told = said;
    return found;
  };
}

const revokedNote = 'THE OWNERS HAVE REVOKED THIS HOST: it starts nothing, whatever its gate says';

/** What a revocation of this host comes to, and what to do about it, for people. */
export function describeRevoked(entry: Revocation): { readonly detail: string; readonly remedy: string } {
  const { kind, id, running } = entry;
  const what =
    running === 'end'
      ? 'it runs nothing more, and what ran was ended'
      : 'it starts nothing more; what runs goes on';
  // A whole public key is taken for a private one where text is shown, and left out.
  const named =
    kind === 'key' && Buffer.from(id, 'base64').length === 32 ? 'KEY, as revoked.yaml has it' : id;
  const byKey =
    kind === 'key' ? ', and with another receipt key (another state_dir) where this one may be stolen' : '';
  return {
    detail: `THIS HOST IS REVOKED: ${describeRevocation(entry)} (revoked.yaml); ${what}`,
    remedy: `see to what the reason names; then set it up anew under another name${byKey}, or have the owners take it back: csc admin restore ${kind} ${named}`,
  };
}

/** The same in one line. */
export function describeRevokedWhole(entry: Revocation): string {
  const { detail, remedy } = describeRevoked(entry);
  return `${detail}. What to do: ${remedy}`;
}
