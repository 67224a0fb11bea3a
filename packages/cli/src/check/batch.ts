import { type CommandContract, contractFromJson, parseContract } from '@csc-fleet/common/contract';
import type { HostRules } from '@csc-fleet/common/decision';
import {
  artifactBytes,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
} from '@csc-fleet/common/encoding';
import { type Fault, faulty, type Parsed } from '@csc-fleet/common/errors';
import { type PolicyDocument, parsePolicy, policyFromJson } from '@csc-fleet/common/policy';
import { type Line, splitLines } from '../files/lines.ts';
import { type DecisionDocument, decide } from './decide.ts';

/** A contract and a policy of full size each, with room for what JSON escapes. */
const maxLineBytes = 4 * (artifactBytes.contract + artifactBytes.policy);

const policiesKept = 64;

/**
 * Reads `{"contract": …, "policy": …}` a line and writes one PolicyDecision a line, in the same order; an
 * `{"error": …}` line for what cannot be parsed. A policy that is a string is YAML text, a contract that is one is
 * JSON text. No line ends the batch. Other members of a line are its sender's own and are not looked at.
 */
export async function decideBatch(
  input: AsyncIterable<Uint8Array>,
  write: (text: string) => Promise<void>,
  host: HostRules,
): Promise<void> {
  const judge = createLineJudge(host);
  for await (const lines of splitLines(input, maxLineBytes)) {
    await write(lines.map((line) => `${JSON.stringify(judge(line))}\n`).join(''));
  }
}

/** The answer to a line that cannot be judged. */
interface ErrorLine {
  readonly error: string;
  /** From 1. */
  readonly line: number;
  readonly faults: readonly Fault[];
}

function createLineJudge(host: HostRules): (line: Line) => DecisionDocument | ErrorLine {
  const readPolicy = createPolicyReader();
  let number = 0;
  return (line) => {
    number++;
    const pair = readPair(line);
    if (!pair.ok) return toErrorLine(number, pair.faults);
    const contract = readContract(pair.value['contract']);
    const policy = readPolicy(pair.value['policy']);
    if (contract.ok && policy.ok) return decide(contract.value, policy.value, new Date(), host).document();
    return toErrorLine(number, [...prefixed('contract', contract), ...prefixed('policy', policy)]);
  };
}

function readPair(line: Line): Parsed<JsonObject> {
  if ('tooLong' in line) return faulty(`is ${line.tooLong} bytes long; at most ${maxLineBytes} are allowed`);
  const value = parseStrictJson(line.bytes, { maxBytes: maxLineBytes });
  if (!value.ok) return value;
  return isJsonObject(value.value)
    ? { ok: true, value: value.value }
    : faulty('must be an object with the members contract and policy');
}

function readContract(value: JsonValue | undefined): Parsed<CommandContract> {
  if (value === undefined) return faulty('is required');
  return typeof value === 'string' ? parseContract(Buffer.from(value)) : contractFromJson(value);
}

// A batch mostly judges many contracts by few policies: the last ones are kept.
function createPolicyReader(): (value: JsonValue | undefined) => Parsed<PolicyDocument> {
  const kept = new Map<string, Parsed<PolicyDocument>>();
  return (value) => {
    if (value === undefined) return faulty('is required');
    const key = JSON.stringify(value);
    const known = kept.get(key);
    if (known !== undefined) return known;
    const policy = typeof value === 'string' ? parsePolicy(Buffer.from(value)) : policyFromJson(value);
    const [oldest] = kept.keys();
    if (kept.size >= policiesKept && oldest !== undefined) kept.delete(oldest);
    kept.set(key, policy);
    return policy;
  };
}

function prefixed(member: string, parsed: Parsed<unknown>): Fault[] {
  if (parsed.ok) return [];
  return parsed.faults.map(({ path, message }) => ({
    path: path === '' || path.startsWith('[') ? `${member}${path}` : `${member}.${path}`,
    message,
  }));
}

function toErrorLine(line: number, faults: readonly Fault[]): ErrorLine {
  const [first] = faults;
  return {
    error: first === undefined ? 'cannot be read' : `${first.path || 'the line'} ${first.message}`,
    line,
    faults,
  };
}
