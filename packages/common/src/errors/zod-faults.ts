import type { z } from 'zod';
import { type Fault, memberPath } from './fault.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

// More than anybody is told of: a document can have a hundred thousand that nobody knows.
const mostNamed = 128;

/**
 * Every issue that zod found, as Faults in our words: one for each unknown member (of 128 in one place), and for a
 * union those of the branch that fits best. A message that a schema gives itself is kept.
 */
export function zodFaults(error: { readonly issues: readonly Issue[] }): Fault[] {
  return error.issues.flatMap((issue) => issueFaults(issue, []));
}

function issueFaults(issue: Issue, prefix: Path): Fault[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, mostNamed);
    return names.map((key) => ({ path: memberPath([...path, key]), message: 'is not a known member' }));
  }
  if (issue.code === 'invalid_union') return unionFaults(issue.errors, path, issue.message);
  return [{ path: memberPath(path), message: isDefault(issue.message) ? describe(issue) : issue.message }];
}

// How the messages begin that zod makes up itself.
function isDefault(message: string): boolean {
  return /^(?:Invalid|Too small|Too big)/.test(message);
}

function describe(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return describeType(issue);
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(String(value))).join(' or ')}`;
    case 'too_small':
      return describeBound('at least', Number(issue.minimum), issue.origin, issue.exact);
    case 'too_big':
      return describeBound('at most', Number(issue.maximum), issue.origin, issue.exact);
    case 'invalid_key':
      return `must not have this name: ${issue.issues.map(describe).join('; ')}`;
    default:
      return issue.message;
  }
}

const nouns: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'true or false',
  int: 'an integer',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
  tuple: 'an array',
};

// zod reports an absent member as a type error that received "undefined", which says little to its author.
function describeType(issue: z.core.$ZodIssueInvalidType): string {
  const expected = nouns[issue.expected] ?? issue.expected;
  return issue.message.endsWith('received undefined') ? `is required (${expected})` : `must be ${expected}`;
}

const units: Readonly<Record<string, string>> = { string: 'characters', array: 'items', object: 'members' };

function describeBound(bound: string, limit: number, origin: string, exact = false): string {
  const unit = units[origin];
  if (unit === undefined) return `must be ${bound} ${limit}`;
  return `must have ${exact ? 'exactly' : bound} ${limit} ${limit === 1 ? unit.slice(0, -1) : unit}`;
}

// The branch with the fewest issues is the one that the author most likely meant.
function unionFaults(branches: readonly Issue[][], path: Path, message: string): Fault[] {
  const types = branches.map((branch) => branch.find((issue) => issue.path.length === 0));
  if (types.length > 0 && types.every((issue) => issue?.code === 'invalid_type')) {
    const expected = new Set(types.map((issue) => nouns[issue.expected] ?? issue.expected));
    return [{ path: memberPath(path), message: `must be ${[...expected].join(' or ')}` }];
  }
  // One that is for another type of value is not what was meant.
  const fitting = branches.filter((_, index) => types[index]?.code !== 'invalid_type');
  const candidates = fitting.map((branch) => branch.flatMap((issue) => issueFaults(issue, path)));
  const best = candidates.filter((faults) => faults.length > 0).sort((a, b) => a.length - b.length)[0];
  return (
    best ?? [
      {
        path: memberPath(path),
        message: message.replace('Invalid discriminator value. Expected', 'must be'),
      },
    ]
  );
}
