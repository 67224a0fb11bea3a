import { X509Certificate } from 'node:crypto';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { validityOf, whyNotValid } from '@csc-fleet/common/identity';
import type { Log } from '@csc-fleet/common/service';

/** What this host signs and speaks with. */
export interface CertificatePorts {
  readonly signer: Pick<Signer, 'certificates'>;
  /** Of its links, as it counts now. Absent: it has none. */
  readonly tlsCertificate?: (() => X509Certificate) | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Tells, for people, which certificate of this host does not count now; undefined where all do. A receipt that is signed
 * meanwhile could never be verified by the fleet's CA, and so nothing may begin. A connection does not end with its
 * certificate, which is why that one is looked at, too. Its log is told of each change.
 */
export function watchCertificates({
  signer,
  tlsCertificate,
  clock,
  log,
}: CertificatePorts): () => string | undefined {
  const chain = chainOf(signer);
  let wasEnded = false;
  const find = (): string | undefined => {
    const now = clock.now();
    for (const certificate of chain()) {
      const why = whyNotValid(certificate, now);
      if (why !== undefined) return tell('receipt certificate', why);
    }
    const why = tlsCertificate === undefined ? undefined : whyNotValid(tlsCertificate(), now);
    return why === undefined ? undefined : tell('TLS certificate', why);
  };
  return () => {
    const found = find();
    if ((found !== undefined) !== wasEnded) {
      wasEnded = found !== undefined;
      if (found === undefined)
        log.info({}, 'the certificates of this host count again: runs are taken again');
      else
        log.error({ why: found }, 'a certificate of this host has ended: nothing runs before it has another');
    }
    return found;
  };
}

// It is asked at each offer, and parsed again once others are there.
function chainOf(signer: CertificatePorts['signer']): () => readonly X509Certificate[] {
  let parsed: { readonly of: Signer['certificates']; readonly chain: readonly X509Certificate[] } | undefined;
  return () => {
    const { certificates: of } = signer;
    if (parsed === undefined || parsed.of !== of)
      parsed = { of, chain: (of ?? []).map((der) => new X509Certificate(Buffer.from(der, 'base64'))) };
    return parsed.chain;
  };
}

/** Whose receipts it is about, and whether this host has its certificates renewed by itself. */
export interface OutlastPorts extends Pick<CertificatePorts, 'signer' | 'clock'> {
  /** It has joined a CA that renews them; false: somebody has to, and nobody knows when. */
  readonly renews: boolean;
}

// Of each command, beside its own time: SIGTERM to SIGKILL, a sandbox that is built again, and what is measured.
const perCommandMs = 10_000;

/**
 * Throws SANDBOX_UNAVAILABLE where a contract may run past the end of a certificate of this host's receipts: its receipt is
 * signed at its end. A host that renews them itself has others by then, unless that should have happened: in the last third.
 */
export function createOutlastCheck({
  signer,
  clock,
  renews,
}: OutlastPorts): (contract: CommandContract) => void {
  const chain = chainOf(signer);
  return ({ commands }) => {
    const lives = chain().map(validityOf);
    const now = clock.now().getTime();
    const isOverdue = lives.some(
      ({ from, until }) => 3 * (until.getTime() - now) < until.getTime() - from.getTime(),
    );
    if (renews && !isOverdue) return;
    const ends = Math.min(...lives.map(({ until }) => until.getTime()));
    const mostMs = commands.reduce((sum, { timeout_sec: seconds }) => sum + seconds * 1000 + perCommandMs, 0);
    if (now + mostMs <= ends) return;
    const remedy = renews
      ? 'its CA should have renewed it by now, and its log says why that fails'
      : 'give this host another one (csc pki renew, where csc pki made it)';
    throw new CscError(
      'SANDBOX_UNAVAILABLE',
      `the receipt certificate of this host ends at ${new Date(ends).toISOString()}, and this may run for ${Math.ceil(mostMs / 1000)} s: its receipt could not be verified; ${remedy}, or ask for a shorter timeout_sec`,
    );
  };
}

function tell(what: string, why: string): string {
  return `this host takes nothing before it has another ${what}, as what it signs now could not be verified: it ${why}; where a CA renews it, its log says why that fails`;
}
