import { argvs, type Command } from '../contract/index.ts';
import type { Policy } from '../policy/index.ts';

/** What a command is taken to do: one of the six effect types, or `financial_action`. */
export function classifyEffect(command: Command, policy: Policy): string {
  const [first = []] = argvs(command);
  if (first[0] !== 'curl') return command.proposed_effect_type;
  const line = first.join(' ');
  const pays = policy.allowed_egress_hosts.some((host) => host.includes('stripe') && line.includes(host));
  return pays ? 'financial_action' : 'fetch_external';
}
