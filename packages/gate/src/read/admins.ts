import { CscError } from '@csc-fleet/common/errors';
import { type Bindings, bindingOf } from '@csc-fleet/common/policy';
import type { Principal } from '../execution/executions.ts';

/** True where the binding that counts for it has the role `admin`. */
export function isAdmin(bindings: Bindings, { uri }: Principal): boolean {
  return bindingOf(bindings, uri)?.roles?.includes('admin') ?? false;
}

/** Throws NOT_PERMITTED where it is no admin. */
export function checkAdmin(bindings: Bindings, principal: Principal): void {
  if (isAdmin(bindings, principal)) return;
  throw new CscError(
    'NOT_PERMITTED',
    `this is for admins, and ${principal.uri} is none: the owners give the role in bindings.yaml (roles: [admin])`,
  );
}
