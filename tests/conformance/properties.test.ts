import { type CommandContract, contractSha256, parseContract } from '@csc-fleet/common/contract';
import { evaluate, reasonCodes } from '@csc-fleet/common/decision';
import {
  canonicalBytes,
  canonicalJson,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
} from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { type PolicyDocument, policyFromJson } from '@csc-fleet/common/policy';
import { contracts, jsonValues, policies, policiesV02 } from '@csc-fleet/test-kit/conformance/arbitraries';
import { asksForApproval, breaks } from '@csc-fleet/test-kit/conformance/oracle';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const runs = { numRuns: 150 };

function parse(text: string): CommandContract {
  return orThrow(parseContract(Buffer.from(text)), 'CONTRACT_INVALID', 'the contract');
}

/** The same JSON with its members in another order and white space between the tokens. */
function rewritten(value: JsonValue, random: () => number): string {
  const space = () => ['', ' ', '\n', '\t\r '][Math.floor(random() * 4)] ?? '';
  if (typeof value !== 'object' || value === null) return `${space()}${JSON.stringify(value)}${space()}`;
  if (Array.isArray(value)) return `${space()}[${value.map((item) => rewritten(item, random)).join(',')}]`;
  const members = Object.entries(value)
    .map((member) => ({ member, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(
      ({ member: [key, item] }) => `${space()}${JSON.stringify(key)}${space()}:${rewritten(item, random)}`,
    );
  return `{${members.join(',')}${space()}}`;
}

describe('a contract', () => {
  it('survives being written and read', () => {
    fc.assert(
      fc.property(contracts, (contract) => {
        expect(parse(JSON.stringify(contract))).toEqual(contract);
        expect(parse(canonicalJson(contract))).toEqual(contract);
      }),
      runs,
    );
  });

  it('has the same hash whatever the order of its members and its white space', () => {
    fc.assert(
      fc.property(
        contracts,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        (contract, stream) => {
          const random = (): number => stream.next().value ?? 0;
          expect(contractSha256(parse(rewritten(contract, random)))).toBe(contractSha256(contract));
        },
      ),
      runs,
    );
  });

  it('has another hash once any member is another', () => {
    fc.assert(
      fc.property(contracts, contracts, (one, other) => {
        for (const [member, value] of Object.entries(other)) {
          const grafted: CommandContract = { ...one, [member]: value };
          const equal = canonicalJson(grafted) === canonicalJson(one);
          expect([member, contractSha256(grafted) === contractSha256(one)]).toEqual([member, equal]);
        }
      }),
      runs,
    );
  });
});

describe('canonical JSON', () => {
  it('is stable: read and written again, it is the same', () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        const text = canonicalJson(value, { keepNulls: true });
        expect(canonicalJson(JSON.parse(text) as JsonValue, { keepNulls: true })).toBe(text);
      }),
      runs,
    );
  });

  it('is read back by the strict reader', () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        const bytes = canonicalBytes(value, { keepNulls: true });
        // Every -0 is written as 0.
        const expected: unknown = JSON.parse(JSON.stringify(value));
        expect(parseStrictJson(bytes, { maxBytes: 1e6 })).toEqual({ ok: true, value: expected });
      }),
      runs,
    );
  });
});

type Check = (contract: CommandContract, policy: PolicyDocument) => void;

describe.each([
  ['v0.1', policies],
  ['v0.2', policiesV02],
] as const)('evaluate, under a policy of %s', (version, written) => {
  const evaluated = (check: Check): void => {
    fc.assert(
      fc.property(contracts, written as fc.Arbitrary<JsonObject>, (contract, policy) => {
        check(contract, orThrow(policyFromJson(policy), 'POLICY_INVALID', 'the policy'));
      }),
      { numRuns: 600 },
    );
  };

  it('never allows what any single check denies, and denies nothing else', () => {
    const verdicts = new Map<string, number>();
    evaluated((contract, document) => {
      const broken = Object.entries(breaks).filter(([, rule]) => rule(contract, document.policy));
      const { verdict } = evaluate(contract, document);
      const due = asksForApproval(contract, document.policy) ? 'needs_approval' : 'allow';
      expect(verdict).toBe(broken.length > 0 ? 'deny' : due);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    });
    // The generators must not starve a verdict.
    for (const verdict of ['allow', 'deny', 'needs_approval'])
      expect(verdicts.get(verdict)).toBeGreaterThan(5);
  });

  it('finds every broken rule, and no other', () => {
    evaluated((contract, document) => {
      const broken = Object.keys(breaks).filter((code) => breaks[code]?.(contract, document.policy));
      const found = evaluate(contract, document).findings.map(({ reasonCode }) => reasonCode);
      expect(new Set(found.filter((code) => code !== 'APPROVAL_REQUIRED'))).toEqual(new Set(broken));
      expect(found.includes('APPROVAL_REQUIRED')).toBe(asksForApproval(contract, document.policy));
    });
  });

  it('gives the reason codes that its version gives', () => {
    evaluated((contract, document) => {
      const { reasonCodes: given, reasons, findings } = evaluate(contract, document);
      const found = findings.map(({ reasonCode }) => reasonCode);
      const applies = reasonCodes.filter((code) => found.includes(code));
      const due = applies.length === 0 ? ['ALLOW'] : applies;
      if (version === 'v0.2') expect(given).toEqual(due);
      else expect(given.map((code) => due.includes(code))).toEqual([true]);
      expect(reasons).toHaveLength(given.length);
    });
  });

  it('is pure: it changes nothing, and says the same again', () => {
    evaluated((contract, document) => {
      const before = JSON.stringify([contract, document]);
      expect(evaluate(contract, document)).toEqual(
        evaluate(structuredClone(contract), structuredClone(document)),
      );
      expect(JSON.stringify([contract, document])).toBe(before);
    });
  });
});
