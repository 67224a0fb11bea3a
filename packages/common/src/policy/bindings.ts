import * as z from 'zod';
import { createKeyRing, type KeyRing, keyList } from '../crypto/index.ts';
import { artifactBytes, isJsonObject, type JsonValue } from '../encoding/index.ts';
import { CscError, faulty, orThrow, type Parsed, parsed, quoteBriefly } from '../errors/index.ts';
import { parseIdentity } from '../identity/index.ts';
import {
  labelsMember,
  nonEmptyText,
  oneOf,
  uniqueList,
  unsupportedVersion,
  validate,
  versionMember,
} from '../schema/index.ts';

import { parseStrictYaml } from '../yaml/index.ts';
import { coversPattern, identityPattern, matchesPattern } from './identity-pattern.ts';
import type { PolicyDocument } from './policy.ts';
import type { PolicySet } from './policy-set.ts';

const bindingV01 = z.strictObject({
  identity: identityPattern,
  policies: uniqueList(nonEmptyText, 1).meta({
    uniqueItems: true,
    description: 'Names of profiles. The first is used where the caller names none.',
  }),
});

const positive = z.int().min(1);

const shareMember = z
  .strictObject({
    weight: positive
      .max(100)
      .exactOptional()
      .meta({ description: 'How many of its executions are started for each one of another. Absent: 1.' }),
    queued: positive.exactOptional().meta({
      description: 'Executions that wait for an executor; as many again may wait for approval.',
    }),
    running: positive
      .exactOptional()
      .meta({ description: 'Executions at a time on all hosts together; what is beyond waits.' }),
    submissions_per_min: positive
      .exactOptional()
      .meta({ description: 'New executions a minute over time, and so many at once out of rest.' }),
    stored_bytes_per_day: positive.exactOptional().meta({
      description: 'Bytes that the gate stores for it in a day (UTC), where its own limit is not less.',
    }),
  })
  .meta({
    description:
      'What the gate lets each identity that matches have, by itself. Absent members: what the gate’s config says. Hosts do not go by it.',
  });

/**
 * What an identity may do beside submitting. `admin`: see hosts and everybody's executions, read the audit, end and prune.
 * `auditor`: read the audit, the log and everybody's receipts, and change nothing; nobody reads another's output.
 */
export const roles = ['admin', 'auditor'] as const;

const bindingV02 = bindingV01.extend({
  hosts: labelsMember.exactOptional().meta({
    description: 'Labels that a host must have, all of them, to run for this identity. Absent: any host.',
  }),
  secrets: z
    .record(nonEmptyText, uniqueList(nonEmptyText, 0))
    .default({})
    .meta({ description: 'By profile, the secrets that this identity gets under it. Absent: none.' }),
  roles: uniqueList(oneOf(roles), 0).default([]).meta({
    description:
      'What else this identity may do at the gate. admin: hosts, everybody’s executions, the audit. auditor: the audit, and everybody’s receipts, never their output.',
  }),
  limits: shareMember.exactOptional(),
});

const submitter = z.strictObject({
  principal: z.string().refine((text) => parseIdentity(text)?.role === 'client', {
    error: 'must be spiffe://TRUST_DOMAIN/client/NAME, without *',
  }),
  keys: keyList,
});

const rules = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .min(1)
    .superRefine(refineReachable, { when: () => true })
    .meta({ description: 'Read from the top: the first whose identity matches counts, and no other.' });

/** The rules of bindings.yaml v0.1: which identity may use which profiles. */
export const bindingsSchema = z
  .strictObject({
    bindings_version: versionMember('bindings', 'csc.bindings.v0.1'),
    bindings: rules(bindingV01),
  })
  .meta({ title: 'CSC policy bindings v0.1', description: 'Which identity may use which policy profiles.' });

/** The rules of bindings.yaml v0.2, which hosts enforce: v0.1, and who signs for whom, on which hosts, with which secrets. */
export const bindingsV02Schema = z
  .strictObject({
    bindings_version: versionMember('bindings', 'csc.bindings.v0.2'),
    bindings: rules(bindingV02),
    submitters: z
      .array(submitter)
      .superRefine(refineOneEach, { when: () => true })
      .default([])
      .meta({
        description:
          'The keys that sign submissions, by principal. Who is not here cannot submit to a host that asks for signatures.',
      }),
  })
  .meta({
    title: 'CSC policy bindings v0.2',
    description: 'Which identity may use which policy profiles, on which hosts, and which keys sign for it.',
  });

/** One rule, whichever version wrote it. */
export interface Binding {
  readonly identity: string;
  readonly policies: readonly string[];
  /** Absent: any host. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** By profile. Absent, as v0.1 has none: whatever policy and host say. */
  readonly secrets?: Readonly<Record<string, readonly string[]>>;
  /** Absent: none. */
  readonly roles?: readonly (typeof roles)[number][];
  /** Of each identity that matches. Absent: what the gate's config says. */
  readonly limits?: Readonly<z.infer<typeof shareMember>>;
}

/** Which identity may use which profiles; the first binding that matches counts, and no other. */
export interface Bindings {
  readonly bindings: readonly Binding[];
  /** Absent, as v0.1 has none: nobody can sign. */
  readonly submitters?: z.infer<typeof bindingsV02Schema>['submitters'] | undefined;
}

/** Reads bindings from their YAML text. Gives every fault at once; a binding that is never reached is one. */
export function parseBindings(bytes: Uint8Array): Parsed<Bindings> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  return document.ok ? bindingsFromJson(document.value) : document;
}

/** Validates bindings that are parsed already. */
export function bindingsFromJson(value: JsonValue): Parsed<Bindings> {
  const version = isJsonObject(value) ? value['bindings_version'] : undefined;
  if (version === 'csc.bindings.v0.2') return validate(bindingsV02Schema, value);
  if (version !== undefined && version !== 'csc.bindings.v0.1') {
    const message = unsupportedVersion('bindings', version, 'csc.bindings.v0.1 and csc.bindings.v0.2');
    return faulty(message ?? 'is required', 'bindings_version');
  }
  const old = validate(bindingsSchema, value);
  return old.ok ? parsed({ bindings: old.value.bindings }) : old;
}

/** The rule that counts for an identity; undefined where none does. */
export function bindingOf({ bindings }: Bindings, identityUri: string): Binding | undefined {
  return bindings.find(({ identity }) => matchesPattern(identity, identityUri));
}

/** The keys that sign for a principal; undefined where there are none. */
export function submitterKeys({ submitters = [] }: Bindings, principal: string): KeyRing | undefined {
  const found = submitters.find((it) => it.principal === principal);
  return found === undefined ? undefined : createKeyRing(found.keys);
}

/** Throws POLICY_INVALID where a binding names a profile that is not among `policies`; names every such one. */
export function checkBindings({ bindings }: Bindings, policies: PolicySet): void {
  const bound = bindings.flatMap((it, index) =>
    it.policies.map((name, at) => ({ name, path: `bindings[${index}].policies[${at}]` })),
  );
  const faults = bound
    .filter(({ name }) => policies.byName(name) === undefined)
    .map(({ name, path }) => ({ path, message: `there is no profile named ${quoteBriefly(name)}` }));
  orThrow(faults.length === 0 ? parsed(undefined) : { ok: false, faults }, 'POLICY_INVALID', 'the bindings');
}

/**
 * The profile that an identity's contract is held against: the one it wants, if it is bound to it, or the first it
 * is bound to where `wanted` is empty. Throws NOT_PERMITTED.
 */
export function bindPolicy(
  bindings: Bindings,
  policies: PolicySet,
  identityUri: string,
  wanted: string,
): PolicyDocument {
  const found = bindingOf(bindings, identityUri);
  if (found === undefined)
    throw notPermitted(`no policy is bound to ${identityUri}; ask the owner for a binding`);
  const name = wanted === '' ? found.policies[0] : found.policies.find((it) => it === wanted);
  if (name === undefined) {
    const instead = `it may use ${found.policies.join(', ')}`;
    throw notPermitted(`${identityUri} may not use the policy ${quoteBriefly(wanted)}; ${instead}`);
  }
  const policy = policies.byName(name);
  if (policy === undefined)
    throw notPermitted(`the policy ${quoteBriefly(name)} is bound, but not held here`);
  return policy;
}

function notPermitted(message: string): CscError {
  return new CscError('NOT_PERMITTED', message);
}

// The same.
function refineOneEach(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const principals = value.map((it): unknown => it?.principal);
  for (const [index, principal] of principals.entries()) {
    const earlier = principals.indexOf(principal);
    if (earlier === index) continue;
    const message = `stands at submitters[${earlier}] already: list all keys of a principal there`;
    context.addIssue({ code: 'custom', path: [index, 'principal'], message });
  }
}

// Runs beside the bindings' own faults, so that all come at once; the value may be anything.
function refineReachable(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const patterns = value.map((it): unknown => it?.identity);
  for (const [index, pattern] of patterns.entries()) {
    const earlier = patterns.slice(0, index).findIndex((other) => coversPattern(other, pattern));
    if (earlier < 0) continue;
    const message = `is never reached: bindings[${earlier}] matches all that this one does; put it first, or remove it`;
    context.addIssue({ code: 'custom', path: [index, 'identity'], message });
  }
}
