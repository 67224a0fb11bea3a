import { argvs, type Command } from '../contract/index.ts';
import { egressHostText, egressName } from '../members/index.ts';
import type { Policy } from '../policy/index.ts';

/** What a command is taken to do: one of the six effect types, or `financial_action`. */
export function classifyEffect(command: Command, policy: Policy): string {
  const [first = []] = argvs(command);
  if (first[0] !== 'curl') return command.proposed_effect_type;
  return paysBy(first.join(' '), policy) ? 'financial_action' : 'fetch_external';
}

// Protocol §3, step 2b. A v0.2 entry may have a star and a port, and its name is one in any case: what occurs in an
// argv is the name, and a payment must not pass for a fetch because its policy says more exactly where it goes.
function paysBy(line: string, policy: Policy): boolean {
  const { allowed_egress_hosts: entries, policy_schema_version: version } = policy;
  if (version === 'csc.policy.v0.1')
    return entries.map(egressHostText).some((entry) => entry.includes('stripe') && line.includes(entry));
  const lowerLine = line.toLowerCase();
  const names = entries.map(egressName);
  return names.some((name) => name.includes('stripe') && lowerLine.includes(name));
}
