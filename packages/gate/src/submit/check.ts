import type { CheckRequest, CheckResponse } from '@csc-fleet/common/messages';
import { bindPolicy } from '@csc-fleet/common/policy';
import type { GateContext } from '../service/context.ts';
import { decide, readContract } from './decide.ts';

/** Decides and runs nothing. Throws CONTRACT_INVALID, NOT_PERMITTED. */
export function check(gate: GateContext, principal: string, request: CheckRequest): CheckResponse {
  const contract = readContract(request.contract);
  const policy = bindPolicy(gate.bindings, gate.policies, principal, request.policyProfile);
  return { decision: decide(gate, contract, policy, gate.clock.now()).decision };
}
