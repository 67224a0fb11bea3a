import type { Profile } from '@csc-fleet/common/messages';
import type { Policy } from '@csc-fleet/common/policy';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { describeFrozen } from '../show/messages-json.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
The first is used where csc submit has no --profile. Whole profiles with --json.

Examples:
  $ csc profiles --gate gate.example:7443 --pki pki --as alice
  $ csc profiles --json | jq .policy.allow_commands
`;

interface ProfilesOptions extends GateOptions {
  readonly json?: true;
}

export function defineProfiles(command: Command): void {
  command.description('Show the policy profiles that you may use, and what they allow.');
  addTokenOptions(addGateOptions(command))
    .option('--json', 'JSON lines, one profile each')
    .addHelpText('after', help);
  act<[ProfilesOptions]>(command, showProfiles);
}

/** Prints what the caller may use. Resolves to 0, and to 1 where that is nothing. */
async function showProfiles(options: ProfilesOptions): Promise<number> {
  using client = connectGate(options, await identify(options));
  const [profiles, { frozen }] = await Promise.all([client.profiles(), client.status()]);
  for (const [index, profile] of profiles.entries()) {
    if (options.json === true) await writeJson(toJson(profile));
    else await writeOut(`${index === 0 ? '' : '\n'}${describe(profile, index === 0)}`);
  }
  if (frozen !== undefined) note(plainLine(`csc: FROZEN: ${describeFrozen(frozen)}`));
  if (profiles.length > 0) return exitCodes.ok;
  note('csc: no policy is bound to your identity: ask the gate’s owner for a binding');
  return exitCodes.no;
}

// What a gate sends is shown, and nothing is decided by it.
function policyOf({ policyJson }: Profile): Partial<Policy> {
  return policyJson.length === 0 ? {} : (JSON.parse(policyJson.toString()) as Partial<Policy>);
}

function toJson(profile: Profile): object {
  const { name, policySha256, executors, freeExecutors, unavailable, secrets, secretsByPolicy } = profile;
  return {
    name,
    policy_sha256: policySha256,
    executors,
    free_executors: freeExecutors,
    ...(unavailable === '' ? {} : { unavailable }),
    ...(secretsByPolicy ? {} : { secrets }),
    ...(profile.policyJson.length === 0 ? {} : { policy: policyOf(profile) }),
  };
}

function describe(profile: Profile, isDefault: boolean): string {
  const { name, policySha256, executors, freeExecutors, unavailable, secrets, secretsByPolicy } = profile;
  const policy = policyOf(profile);
  const list = (values: readonly string[] | undefined) => (values?.length ? values.join(', ') : undefined);
  const wait = policy.queue_timeout_sec;
  const rows: [string, string | undefined][] = [
    ['policy', `sha256 ${policySha256}`],
    ['commands', list(policy.allow_commands)],
    ['effects', list(policy.allowed_effect_types)],
    ['risk', list(policy.allowed_risk_classes)],
    ['approval', list(policy.manual_approval_for_classified_effect_types?.map((it) => `for ${it}`))],
    ['network', networkOf(policy)],
    ['cwd', list(policy.allowed_cwd_prefixes)],
    ['reads', list(policy.allowed_read_prefixes)],
    ['writes', list(policy.allowed_write_prefixes) ?? (policy.name === undefined ? undefined : 'nothing')],
    ['secrets', secretsOf(policy, secretsByPolicy ? undefined : secrets)],
    [
      'time',
      policy.max_timeout_sec === undefined ? undefined : `${policy.max_timeout_sec} s a command at most`,
    ],
    [
      'queue',
      wait === undefined ? undefined : `waits ${wait} s for a host, unless --timeout-queue says otherwise`,
    ],
    [
      'hosts',
      unavailable === ''
        ? `${executors} connected, ${freeExecutors} with a free slot`
        : `none: ${unavailable}`,
    ],
  ];
  const title = createPaint(process.stdout)('bold', plainLine(name));
  const lines = rows.flatMap(([key, value]) =>
    value === undefined ? [] : [`  ${key.padEnd(10)}${plainLine(value)}`],
  );
  return `${[`${title}${isDefault ? ' (used where none is named)' : ''}`, ...lines].join('\n')}\n`;
}

function networkOf({ network, allowed_egress_hosts: hosts = [] }: Partial<Policy>): string | undefined {
  if (network !== 'allowlisted') return network;
  return `allowlisted: ${hosts.map((it) => (typeof it === 'string' ? it : it.host)).join(', ')}`;
}

function secretsOf({ allow_secret_refs: allowed }: Partial<Policy>, given: readonly string[] | undefined) {
  if (allowed === undefined) return undefined;
  if (!allowed) return 'none';
  if (given === undefined) return 'as policy and host say';
  return given.length === 0 ? 'none' : given.join(', ');
}
