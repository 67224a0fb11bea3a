import type { X509Certificate } from 'node:crypto';
import { CscError } from '@csc-fleet/common/errors';
import { labelsInUnits, uncertifiedLabel } from '@csc-fleet/common/identity';

type Labels = Readonly<Record<string, string>>;

/**
 * The labels of a host: where its certificate says them, those and no others, all of them, as what the owners say of each
 * bounds it; otherwise those of its config. Throws CONFIG_INVALID where the config has one that is not certified.
 */
export function labelsOf(configured: Labels, certificate: X509Certificate): Labels {
  const certified = labelsInUnits(certificate.toLegacyObject().subject.OU);
  if (certified === undefined) return configured;
  const other = uncertifiedLabel(configured, certified);
  if (other === undefined) return certified;
  const message = `labels: ${other} is not certified for this host as it stands there: leave it out, or join with a token that gives it (csc ca token --again --labels …)`;
  throw new CscError('CONFIG_INVALID', message);
}

/** What `labelsOf` says now, of a certificate that may be replaced; worked out once for each. */
export function followLabels(configured: Labels, certificate: () => X509Certificate): () => Labels {
  let known: { readonly of: X509Certificate; readonly labels: Labels } | undefined;
  return () => {
    const of = certificate();
    if (known?.of !== of) known = { of, labels: labelsOf(configured, of) };
    return known.labels;
  };
}
