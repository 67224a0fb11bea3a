import { CscError } from '@csc-fleet/common/errors';
import { type Identity, identityOfCall, type Role, type ServerCallLike } from '@csc-fleet/common/rpc';

/** Who calls, of the role that is due here. */
export type Caller<R extends Role> = Identity & { readonly role: R };

/**
 * The caller, from its certificate. Throws NO_CREDENTIALS, CREDENTIALS_INVALID where it is not of the role due here, or
 * of another trust domain than the gate: a CA that certifies for several (SPIFFE federation, a company's own) must not
 * make two hosts of one name, or two clients, out of one.
 */
export function authenticate<R extends Role>(call: ServerCallLike, role: R, trustDomain: string): Caller<R> {
  return checkCaller(identityOfCall(call), role, trustDomain);
}

/** Throws CREDENTIALS_INVALID where it is of another role or trust domain. */
export function checkCaller<R extends Role>(identity: Identity, role: R, trustDomain: string): Caller<R> {
  if (identity.trustDomain !== trustDomain) {
    throw new CscError(
      'CREDENTIALS_INVALID',
      `${identity.uri} is not of this gate's trust domain, which is ${trustDomain}`,
    );
  }
  if (identity.role === role) return { ...identity, role };
  throw new CscError(
    'CREDENTIALS_INVALID',
    `${identity.uri} is of the role ${identity.role}: this is for the role ${role}`,
  );
}
