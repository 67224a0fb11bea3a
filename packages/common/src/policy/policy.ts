import {
  artifactBytes,
  canonicalBytes,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  sha256Hex,
} from '../encoding/index.ts';
import { faulty, orThrow, type Parsed, parsed } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';
import { unsupportedVersion, validate } from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';
import { type Policy, policyV01Schema, policyV02Schema, policyVersions } from './schema.ts';

/** A policy profile together with what identifies it. */
export interface PolicyDocument {
  /** Defaults filled in. */
  readonly policy: Policy;
  /** Lower-case hex, over the canonical policy as written: defaults are not filled in (protocol §4). */
  readonly sha256: string;
  /** Where it came from, for people: a file's path, or empty. */
  readonly source: string;
  /** As written: what `sha256` is of, for who is to reckon it. Absent: it was made otherwise than by reading it. */
  readonly written?: JsonObject;
}

/** Reads a profile from its YAML text. Gives every fault at once, each with its member. */
export function parsePolicy(bytes: Uint8Array, source = ''): Parsed<PolicyDocument> {
  const document = parseStrictYaml(bytes, { maxBytes: artifactBytes.policy });
  return document.ok ? policyFromJson(document.value, source) : document;
}

/** Validates a profile that is parsed already. */
export function policyFromJson(value: JsonValue, source = ''): Parsed<PolicyDocument> {
  if (!isJsonObject(value)) return faulty('must be an object');
  const policy = validatePolicy(value);
  if (!policy.ok) return policy;
  let sha256: string | undefined;
  return parsed({
    policy: policy.value,
    // Who only wants a verdict does not ask for it, and then does not wait for node:crypto to load either.
    get sha256() {
      sha256 ??= sha256Hex(canonicalBytes(value));
      return sha256;
    },
    source,
    written: value,
  });
}

function validatePolicy(value: JsonObject): Parsed<Policy> {
  const version = value['policy_schema_version'];
  if (version === 'csc.policy.v0.2') return validate(policyV02Schema(), value);
  if (version === 'csc.policy.v0.1' || version === undefined) return validate(policyV01Schema, value);
  const message = unsupportedVersion('policy', version, policyVersions.join(' and '));
  return faulty(message ?? 'is required', 'policy_schema_version');
}

/** Throws FILE_UNREADABLE (`failed to read …`), or POLICY_INVALID with every fault. */
export function readPolicyFile(path: string): PolicyDocument {
  const { bytes } = readBoundedFile(path, { maxBytes: artifactBytes.policy });
  return orThrow(parsePolicy(bytes, path), 'POLICY_INVALID', path);
}

/**
 * The names of a command's env_allow that it may get under a policy, in the command's order. A name outside allowed_env
 * is left out rather than denied: the registry of reason codes has none for it, and what is absent can do no harm.
 */
export function grantedVariables({ allowed_env: allowed }: Policy, names: readonly string[]): string[] {
  return names.filter((name) => allowed === undefined || allowed.includes(name));
}
