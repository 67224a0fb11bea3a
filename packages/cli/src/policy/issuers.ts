import { orThrow } from '@csc-fleet/common/errors';
import { parseIssuers, strangeClaims } from '@csc-fleet/common/owners';

/**
 * What of issuers.yaml is most likely mistyped, each for people: a rule that asks for such a claim lets nobody in, and says nothing.
 * Throws POLICY_INVALID.
 */
export function describeStrangeClaims(
  issuersYaml: Uint8Array,
): { readonly issuer: string; readonly message: string }[] {
  const { issuers } = orThrow(parseIssuers(issuersYaml), 'POLICY_INVALID', 'issuers.yaml');
  return issuers.flatMap((it) => {
    const strange = strangeClaims(it);
    const message = `tokens of ${it.kind} are not known to have ${strange.join(', ')}, and a claim that is not there is never met: ${it.issuer}`;
    return strange.length === 0 ? [] : [{ issuer: it.issuer, message }];
  });
}
