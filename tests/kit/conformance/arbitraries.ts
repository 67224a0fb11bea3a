import {
  approvalModes,
  type Command,
  type CommandContract,
  effectTypes,
  networkModes,
  riskClasses,
} from '@csc-fleet/common/contract';
import type { JsonValue } from '@csc-fleet/common/encoding';
import fc from 'fast-check';

// Few and close to each other, so that rules are met and broken about as often.
const paths = [
  '/',
  '/w',
  '/w/',
  '/w//./a',
  '/w/a/**',
  '/w-evil',
  '/W',
  '/etc',
  '//w',
  '//H/s/a',
  '\\\\h\\S',
  'C:\\w',
  'c:/W/a',
  'D:/',
];
const prefixes = paths.filter((path) => path !== '//w');
const words = ['git', 'ls', 'curl', 'rm', 'push', '-f', 'https://api.stripe.com/v1', 'é😀'];
const programs = ['git', 'ls', 'curl', 'rm'];

const text = (minLength: number, maxLength: number) => fc.string({ unit: 'grapheme', minLength, maxLength });
const some = <T>(items: readonly T[], minLength = 0) =>
  fc.uniqueArray(fc.constantFrom(...items), { minLength });

const argv = fc
  .tuple(fc.constantFrom(...programs), fc.array(fc.constantFrom(...words), { maxLength: 3 }))
  .map(([program, rest]) => [program, ...rest]);

const form: fc.Arbitrary<Pick<Command, 'exec' | 'pipeline'>> = fc.oneof(
  argv.map((it) => ({ exec: { argv: it } })),
  fc.array(argv, { minLength: 2, maxLength: 3 }).map((list) => ({
    pipeline: { segments: list.map((it) => ({ argv: it })) },
  })),
);

const scope = fc.record({
  cwd: fc.constantFrom(...paths),
  read_paths: fc.array(fc.constantFrom(...paths), { maxLength: 2 }),
  write_paths: fc.array(fc.constantFrom(...paths), { maxLength: 2 }),
  network: fc.constantFrom(...networkModes),
  env_allow: some(['CI', 'HOME']),
  secret_refs: fc.constantFrom<string[]>([], [], [], ['TOKEN']),
  timeout_sec: fc.constantFrom(1, 60, 61, 86_400),
  proposed_effect_type: fc.constantFrom(...effectTypes),
});

const command = fc.tuple(form, scope).map(([a, b]): Omit<Command, 'id'> => ({ ...a, ...b }));

/** Contracts as the parser gives them. */
export const contracts: fc.Arbitrary<CommandContract> = fc.record({
  version: fc.constant('csc.v0.1' as const),
  contract_id: text(8, 40),
  intent: text(1, 40),
  actor: fc.record({
    agent_id: text(1, 9),
    session_id: text(1, 9),
    initiating_user: text(1, 9),
    delegation_scope: text(1, 9),
  }),
  commands: fc
    .array(command, { minLength: 1, maxLength: 3 })
    .map((list) => list.map((it, index) => ({ id: `command-${index}`, ...it }))),
  risk_class: fc.constantFrom(...riskClasses),
  approval_mode: fc.oneof(
    { weight: 3, arbitrary: fc.constant(approvalModes[0]) },
    fc.constantFrom(...approvalModes),
  ),
  justification: text(1, 40),
  expected_outputs: fc.array(fc.constantFrom(...paths), { maxLength: 2 }),
});

const wide = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant<T[]>([...items]) }, some(items, 1));
const usually = <T>(value: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(value) }, other);

const commonMembers = {
  name: text(1, 9),
  allow_commands: wide(programs),
  allowed_effect_types: wide(effectTypes),
  allowed_risk_classes: wide(riskClasses),
  max_timeout_sec: usually(86_400, fc.constantFrom(1, 60)),
  network: usually<string>('full', fc.constantFrom(...networkModes)),
  allow_secret_refs: usually(true, fc.boolean()),
  allowed_cwd_prefixes: wide(prefixes),
  allowed_read_prefixes: wide(prefixes),
  deny_argv_prefixes: usually<string[][]>(
    [],
    fc.array(
      argv.map((it) => it.slice(0, 2)),
      { maxLength: 2 },
    ),
  ),
  manual_approval_for_classified_effect_types: usually<string[]>(
    [],
    some([...effectTypes, 'financial_action']),
  ),
  require_write_paths_empty: usually(false, fc.boolean()),
  allowed_write_prefixes: wide(prefixes),
};

const requiredKeys = [
  'policy_schema_version',
  'name',
  'allow_commands',
  'allowed_effect_types',
  'allowed_risk_classes',
  'max_timeout_sec',
  'network',
  'allow_secret_refs',
  'allowed_cwd_prefixes',
  'allowed_read_prefixes',
] as const;

/** Policies as they are written; wide more often than not, as a contract has to get past every rule. */
export const policies = fc.record(
  {
    policy_schema_version: fc.constant('csc.policy.v0.1'),
    ...commonMembers,
    allowed_egress_hosts: some(['api.stripe.com', 'example.org', 'https://api.stripe']),
  },
  { requiredKeys: [...requiredKeys] },
);

/** The same of v0.2. */
export const policiesV02 = fc.record(
  {
    policy_schema_version: fc.constant('csc.policy.v0.2'),
    ...commonMembers,
    allowed_egress_hosts: some(['api.stripe.com:443', '*.Stripe.com', 'example.org', '10.0.0.0/8']),
    limits: fc.record({ processes: fc.integer({ min: 8, max: 99 }) }, { requiredKeys: [] }),
    allowed_env: some(['CI', 'HOME']),
    allowed_secret_names: wide(['TOKEN', 'OTHER']),
  },
  { requiredKeys: [...requiredKeys] },
);

/** JSON values that the protocol can hold: integers, well-formed text, no poisonous keys. */
export const jsonValues: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'binary' }).filter(isPlainKey), tie('value'), { maxKeys: 4 }),
  ),
})).value;

function isPlainKey(key: string): boolean {
  return !['__proto__', 'constructor', 'prototype'].includes(key);
}
