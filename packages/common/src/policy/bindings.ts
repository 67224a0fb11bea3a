import * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import { CscError, orThrow, type Parsed, parsed, quoteBriefly } from '../errors/index.ts';
import { nonEmptyText, uniqueList, validate, versionMember } from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';
import { coversPattern, identityPattern, matchesPattern } from './identity-pattern.ts';
import type { PolicyDocument } from './policy.ts';
import type { PolicySet } from './policy-set.ts';

const binding = z.strictObject({
  identity: identityPattern,
  policies: uniqueList(nonEmptyText, 1).meta({
    uniqueItems: true,
    description: 'Names of profiles. The first is used where the caller names none.',
  }),
});

/** The rules of bindings.yaml: which identity may use which profiles. */
export const bindingsSchema = z
  .strictObject({
    bindings_version: versionMember('bindings', 'csc.bindings.v0.1'),
    bindings: z
      .array(binding)
      .min(1)
      .superRefine(checkReachable, { when: () => true })
      .meta({ description: 'Read from the top: the first whose identity matches counts, and no other.' }),
  })
  .meta({ title: 'CSC policy bindings v0.1', description: 'Which identity may use which policy profiles.' });

/** Which identity may use which profiles; the first binding that matches counts, and no other. */
export type Bindings = z.infer<typeof bindingsSchema>;

/** Reads bindings from their YAML text. Gives every fault at once; a binding that is never reached is one. */
export function parseBindings(bytes: Uint8Array): Parsed<Bindings> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  return document.ok ? bindingsFromJson(document.value) : document;
}

/** Validates bindings that are parsed already. */
export function bindingsFromJson(value: JsonValue): Parsed<Bindings> {
  return validate(bindingsSchema, value);
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
  { bindings }: Bindings,
  policies: PolicySet,
  identityUri: string,
  wanted: string,
): PolicyDocument {
  const found = bindings.find(({ identity }) => matchesPattern(identity, identityUri));
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

// Runs beside the bindings' own faults, so that all come at once; the value may be anything.
function checkReachable(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const patterns = value.map((it): unknown => it?.identity);
  for (const [index, pattern] of patterns.entries()) {
    const earlier = patterns.slice(0, index).findIndex((other) => coversPattern(other, pattern));
    if (earlier < 0) continue;
    const message = `is never reached: bindings[${earlier}] matches all that this one does; put it first, or remove it`;
    context.addIssue({ code: 'custom', path: [index, 'identity'], message });
  }
}
