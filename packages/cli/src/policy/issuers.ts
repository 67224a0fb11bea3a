import { orThrow } from '@csc-fleet/common/errors';
import { parseIssuers, strangeClaims } from '@csc-fleet/common/owners';

/**
 * Claims in issuers.yaml that are most likely mistyped, a sentence each, for people: a rule that asks for one lets
 * nobody in, and says nothing of it. Throws POLICY_INVALID.
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
