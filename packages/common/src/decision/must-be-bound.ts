import type { CommandContract } from '../contract/index.ts';
import type { PolicyDocument } from '../policy/index.ts';
import { classifyEffect } from './classify.ts';

/**
 * Whether a signed submission of this contract must name the one host that runs it, so that no second host can: what
 * the policy's `binding` says, and where it says nothing what uses secrets or deploys. Gate and host ask the same.
 */
export function mustBeBound({ commands }: CommandContract, { policy }: PolicyDocument): boolean {
  if (policy.binding !== undefined) return policy.binding === 'host';
  return commands.some((it) => it.secret_refs.length > 0 || classifyEffect(it, policy).effect === 'deploy');
}
