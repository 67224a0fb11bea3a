import type { Command, CommandContract, NetworkMode } from '@csc-fleet/common/contract';
import { CscError, type Fault, formatFaults } from '@csc-fleet/common/errors';

/** What this host grants at most, whatever a policy allows. It belongs to the host's owner and never travels. */
export interface HostCeiling {
  /** The network modes that this host can enforce. */
  readonly network: readonly NetworkMode[];
  /** Whether this host hands out secrets. */
  readonly secrets: boolean;
}

/** What this build can enforce: no network and no secrets. Anything more is refused, never ignored. */
export const buildCeiling: HostCeiling = { network: ['deny'], secrets: false };

/** One rule of the ceiling: what a command asks for beyond it. The path is a member of the command. */
type CeilingRule = (command: Command, ceiling: HostCeiling) => readonly Fault[];

const rules: readonly CeilingRule[] = [checkNetwork, checkSecrets];

/** Throws HOST_CEILING_EXCEEDED with all that the contract asks for beyond the ceiling. */
export function checkCeiling(contract: CommandContract, ceiling: HostCeiling): void {
  const faults = contract.commands.flatMap((command, index) =>
    rules
      .flatMap((rule) => rule(command, ceiling))
      .map(({ path, message }) => ({ path: `commands[${index}].${path}`, message })),
  );
  if (faults.length === 0) return;
  throw new CscError('HOST_CEILING_EXCEEDED', `this host does not grant it:\n${formatFaults(faults)}`, {
    faults,
  });
}

function checkNetwork({ network }: Command, ceiling: HostCeiling): readonly Fault[] {
  if (ceiling.network.includes(network)) return [];
  const granted = ceiling.network.map((mode) => `"${mode}"`).join(' or ');
  return [{ path: 'network', message: `is "${network}"; this host runs commands with ${granted} only` }];
}

function checkSecrets({ secret_refs: secrets }: Command, ceiling: HostCeiling): readonly Fault[] {
  if (ceiling.secrets || secrets.length === 0) return [];
  return [{ path: 'secret_refs', message: 'names secrets; this host hands out none' }];
}
