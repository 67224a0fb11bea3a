import { CscError } from '@csc-fleet/common/errors';
import { type Identity, identityOfCall, type Role, type ServerCallLike } from '@csc-fleet/common/rpc';

/**
 * The caller, from its certificate. Throws NO_CREDENTIALS, CREDENTIALS_INVALID where it is not of the role due here, or
 * of another trust domain than the gate: a CA that certifies for several (SPIFFE federation, a company's own) must not
 * make two hosts of one name, or two clients, out of one.
 */
export function authenticate(call: ServerCallLike, role: Role, trustDomain: string): Identity {
  const identity = identityOfCall(call);
  checkCaller(identity, role, trustDomain);
  return identity;
}

/** Throws CREDENTIALS_INVALID where it is of another role or trust domain. */
export function checkCaller(identity: Identity, role: Role, trustDomain: string): void {
  if (identity.trustDomain !== trustDomain) {
    throw new CscError(
      'CREDENTIALS_INVALID',
      `${identity.uri} is not of this gate's trust domain, which is ${trustDomain}`,
    );
  }
  if (identity.role === role) return;
  throw new CscError(
    'CREDENTIALS_INVALID',
    `${identity.uri} is of the role ${identity.role}: this is for the role ${role}`,
  );
}
