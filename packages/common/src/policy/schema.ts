import * as z from 'zod';
import { effectTypes, networkModes, riskClasses } from '../contract/index.ts';
import {
  egressHostEntry,
  integer,
  labelsMember,
  limitsSchema,
  name,
  nonEmptyText,
  oneOf,
  policyPrefix,
  terminalRules,
  uniqueList,
  versionMember,
} from '../schema/index.ts';
import { makeAllowRuleSchema } from './allow-rule.ts';
import { makeApprovalRuleSchema } from './approval-rule.ts';
import { makeEffectRuleSchema } from './effect-rule.ts';

// The sandbox's own: where a program is found and what it is given are not for a policy to say.
const ownVariables = /^(?:HOME|PATH|USER|LD_\w+|\w+_proxy|__proto__)$/i;

const deniedArgvPrefix = z.array(nonEmptyText).min(1);

/** The members of protocol §2 without the version, in both versions of a profile. */
const commonMembers = {
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
};

/** The rules of a policy profile v0.1 (protocol §2). */
export const policyV01Schema = z
  .strictObject({ policy_schema_version: versionMember('policy', 'csc.policy.v0.1'), ...commonMembers })
  .meta({
    title: 'CSC policy profile v0.1',
    description: 'What the contracts of the identities bound to it may do.',
  });

let v02: ReturnType<typeof makeV02> | undefined;

/**
 * The rules of a policy profile v0.2 (protocol §9): v0.1, and what it cannot say. Made by the first call: for a process
 * that reads one contract and one profile of v0.1, it would be two fifths of all that it makes.
 */
export function policyV02Schema(): ReturnType<typeof makeV02> {
  v02 ??= makeV02();
  return v02;
}

function makeV02() {
  const variableName = z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name: letters, digits and _')
    .refine((text) => !ownVariables.test(text), { error: 'is a variable that the executor sets itself' });

  const variableValue = z
    .string()
    .refine((text) => !text.includes('\0'), { error: 'must not hold a NUL character' })
    .refine((text) => text.length <= 4096, { error: 'must have at most 4096 characters' })
    .meta({ maxLength: 4096, pattern: '^[^\\u0000]*$' });

  return z
    .strictObject({
      policy_schema_version: versionMember('policy', 'csc.policy.v0.2'),
      ...commonMembers,
      allowed_egress_hosts: uniqueList(egressHostEntry, 0).default([]).meta({
        uniqueItems: true,
        description: 'Where a command whose network is allowlisted may connect to.',
      }),
      allow: z.array(makeAllowRuleSchema()).min(1).exactOptional().meta({
        description:
          'What the programs named here may be asked for: an argv of one of them must satisfy one of its rules. Programs of allow_commands that no rule names may be asked for anything.',
      }),
      inline_code: oneOf(['deny', 'host']).exactOptional().meta({
        description:
          "deny: no command carries code in its own words, as `sh -c` does, whatever a host would let in. host, or absent: each host's ceiling says.",
      }),
      effect_rules: z.array(makeEffectRuleSchema()).exactOptional().meta({
        description:
          'What argvs really do, read from the top: the first rule that surely matches is the last that counts, and of all that count the effect that reaches furthest. The classified effect must then be among allowed_effect_types. An argv that no rule surely matches also has the effect that the contract proposes.',
      }),
      approvals: z.array(makeApprovalRuleSchema()).min(1).max(256).exactOptional().meta({
        description:
          'Who must agree to what: a contract needs all that the rules which are for it ask. Their approvals are signed (csc.approval.v0.2); those that nobody signed do not count for it. Absent: whoever approvers.yaml names may agree to what needs approval otherwise.',
      }),
      hosts: labelsMember.exactOptional().meta({
        description:
          'Labels that a host must have, all of them, to run anything under this profile. Absent: any host.',
      }),
      binding: oneOf(['host', 'any']).exactOptional().meta({
        description:
          'host: a signed submission must name the one host that runs it, which the submitter learns once it is placed. Absent: host for what uses secrets or deploys, any for the rest.',
      }),
      queue_timeout_sec: integer({ min: 0 }).exactOptional().meta({
        description:
          'How long a contract waits for a host that may run it, where its submitter does not say; 0: not at all. Absent: as long as the gate lets anything wait.',
      }),
      limits: limitsSchema
        .exactOptional()
        .meta({ description: 'What one run may use up at most; what is absent, the host decides.' }),
      allowed_env: uniqueList(name, 0).exactOptional().meta({
        uniqueItems: true,
        description: "Names that a command's env_allow gets; if absent, any.",
      }),
      set_env: z.record(variableName, variableValue).exactOptional().meta({
        description:
          'Variables that every command gets, whatever env_allow and the host say; no secrets, as they stand here in the open.',
      }),
      umask: z
        .string('must be octal digits in quotes, such as "0027"')
        .regex(/^0?[0-7]{3}$/, 'must be three octal digits, with a 0 before them if you like, such as "0027"')
        .exactOptional()
        .meta({
          description:
            'What is taken from the mode of the files that commands make, and of the write paths that are made for them (umask(2)), as octal digits in quotes. Absent: "0022", or "0002" where the host has a pool of job users.',
        }),
      terminal: terminalRules.exactOptional().meta({
        description:
          'A contract may have a terminal, into which who submitted it types, within these bounds. Absent: none may.',
      }),
      require_outputs: z.boolean().exactOptional().meta({
        description:
          'A run of which an expected output is not there, or cannot be hashed, has failed, whatever its commands said. Absent: the receipt says so, and it counts as they ended.',
      }),
      allowed_secret_names: uniqueList(name, 0).exactOptional().meta({
        uniqueItems: true,
        description: 'Names that secret_refs may have where allow_secret_refs is true; if absent, any.',
      }),
    })
    .superRefine(({ allow = [], allow_commands: commands }, context) => {
      for (const [index, { program }] of allow.entries()) {
        if (commands.some((it) => it === program || it.endsWith(`/${program}`))) continue;
        const message = 'is not among allow_commands: name it there too';
        context.addIssue({ code: 'custom', path: ['allow', index, 'program'], message });
      }
    })
    .meta({
      title: 'CSC policy profile v0.2',
      description:
        'What the contracts of the identities bound to it may do, and how much of the host they get.',
    });
}

/** The policy versions that this build reads. */
export const policyVersions = ['csc.policy.v0.1', 'csc.policy.v0.2'] as const;

export type PolicyVersion = (typeof policyVersions)[number];

/** A profile of either version with its defaults filled in; a v0.1 profile has no member of v0.2. */
export interface Policy extends Omit<z.infer<ReturnType<typeof policyV02Schema>>, 'policy_schema_version'> {
  policy_schema_version: PolicyVersion;
}
