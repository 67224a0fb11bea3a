import { CscError } from '@csc-fleet/common/errors';
import { type Identity, identityOfCall, type Role, type ServerCallLike } from '@csc-fleet/common/rpc';

/** The caller, from its certificate. Throws NO_CREDENTIALS, CREDENTIALS_INVALID where it is not of the role due here. */
export function authenticate(call: ServerCallLike, role: Role): Identity {
  const identity = identityOfCall(call);
  if (identity.role === role) return identity;
  throw new CscError(
    'CREDENTIALS_INVALID',
    `${identity.uri} is of the role ${identity.role}: this is for the role ${role}`,
  );
}
