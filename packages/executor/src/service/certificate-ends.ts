import { X509Certificate } from 'node:crypto';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { whyNotValid } from '@csc-fleet/common/identity';
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
  let parsed: { readonly of: Signer['certificates']; readonly chain: readonly X509Certificate[] } | undefined;
  let wasEnded = false;
  const chain = (): readonly X509Certificate[] => {
    const { certificates: of = [] } = signer;
    if (parsed?.of !== of)
      parsed = { of, chain: of.map((der) => new X509Certificate(Buffer.from(der, 'base64'))) };
    return parsed.chain;
  };
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
      else log.error({}, found);
    }
    return found;
  };
}

function tell(what: string, why: string): string {
  return `this host takes nothing before it has another ${what}, as what it signs now could not be verified: it ${why}; where a CA renews it, its log says why that fails`;
}
