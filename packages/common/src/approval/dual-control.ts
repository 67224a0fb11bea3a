import type { CommandContract } from '../contract/index.ts';
import { CscError } from '../errors/index.ts';

/**
 * What `approval_mode: dual_control_required` comes to. Two approvals that nobody signed may be one person's, so two
 * people cannot be told from one: it is refused, or the operator has said that one approval is enough.
 */
export const dualControls = ['refuse', 'one_approval'] as const;

export type DualControl = (typeof dualControls)[number];

/** Whose config says it. */
export interface DualControlRule {
  readonly dualControl: DualControl;
  readonly by: 'gate' | 'host';
}

const configFile = { gate: 'gate.yaml', host: 'executor.yaml' } as const;

/**
 * Throws APPROVAL_INVALID, with the member at fault, where a contract asks for the consent of two people and this gate
 * or host would have to take one approval for it.
 */
export function checkDualControl(
  { approval_mode: mode }: Pick<CommandContract, 'approval_mode'>,
  { dualControl, by }: DualControlRule,
): void {
  if (mode !== 'dual_control_required' || dualControl === 'one_approval') return;
  const message =
    `is dual_control_required, and this ${by} cannot tell yet whether two people agreed: ` +
    `ask for human_required, or have its owner set dual_control: one_approval in ${configFile[by]}, ` +
    'after which one approval is enough';
  throw new CscError('APPROVAL_INVALID', `approval_mode ${message}`, {
    faults: [{ path: 'approval_mode', message }],
  });
}
