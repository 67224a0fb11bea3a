import * as z from 'zod';
import { effectTypes, networkModes, riskClasses } from '../contract/index.ts';
import {
  integer,
  name,
  nonEmptyText,
  oneOf,
  policyPrefix,
  uniqueList,
  versionMember,
} from '../members/index.ts';

const deniedArgvPrefix = z.array(nonEmptyText).min(1);

/** The rules of a policy profile (protocol §2). */
export const policySchema = z
  .strictObject({
    policy_schema_version: versionMember('policy', 'csc.policy.v0.1'),
    name: nonEmptyText.meta({
      minLength: 1,
      description: 'The profile as decisions, receipts and bindings call it.',
    }),
    allow_commands: uniqueList(name, 1).meta({
      uniqueItems: true,
      description: 'Compared with argv[0] as it stands: `git` does not allow `/usr/bin/git`.',
    }),
    deny_argv_prefixes: z
      .array(deniedArgvPrefix)
      .default([])
      .meta({ description: 'Each denies every argv that begins with these arguments.' }),
    allowed_effect_types: uniqueList(oneOf(effectTypes), 1),
    manual_approval_for_classified_effect_types: uniqueList(nonEmptyText, 0).default([]).meta({
      uniqueItems: true,
      description: 'Classified effects, such as financial_action, that a person must approve.',
    }),
    allowed_risk_classes: uniqueList(oneOf(riskClasses), 1),
    max_timeout_sec: integer({ min: 1 }),
    network: oneOf(networkModes).meta({ description: 'The most that a command may ask for.' }),
    allow_secret_refs: z.boolean(),
    require_write_paths_empty: z.boolean().default(false),
    allowed_cwd_prefixes: z.array(policyPrefix).min(1),
    allowed_read_prefixes: z.array(policyPrefix).min(1),
    allowed_write_prefixes: z.array(policyPrefix).default([]),
    allowed_egress_hosts: uniqueList(nonEmptyText, 0).default([]).meta({ uniqueItems: true }),
  })
  .meta({
    title: 'CSC policy profile v0.1',
    description: 'What the contracts of the identities bound to it may do.',
  });

/** A profile with its defaults filled in. */
export type Policy = z.infer<typeof policySchema>;
