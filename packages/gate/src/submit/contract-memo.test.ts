import type { CommandContract } from '@csc-fleet/common/contract';
import { Verdict } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { deniedContract, makeContract, toBytes } from '@csc-fleet/test-kit/gate/contracts';
import {
  agent,
  decisionTtlSec,
  makePolicy,
  other,
  TestGate,
  toRequest,
} from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ContractMemo } from './contract-memo.ts';

const none = {};
const policy = makePolicy('default');
const bounds = { principals: 2, contracts: 3, bytes: 64 * 1024 };

describe('what is remembered of contracts', () => {
  let memo = new ContractMemo(bounds);
  beforeEach(() => {
    memo = new ContractMemo(bounds);
  });

  const read = (contract: CommandContract, principal = agent) =>
    memo.read(principal, { $case: 'contractJson', value: toBytes(contract) });
  const decided = (contract: CommandContract, principal = agent, by: PolicyDocument = policy) => {
    const { handed, judge } = read(contract, principal);
    return { handed, evaluation: judge(by, none) };
  };
  /** As of a contract that came before: it is kept from its second time on. */
  const kept = (contract: CommandContract, principal = agent) => {
    decided(contract, principal);
    return decided(contract, principal);
  };
  /** Whether it is there still: what is read anew is another object. */
  const isKept = (contract: CommandContract, earlier: { handed: object }, principal = agent) =>
    read(contract, principal).handed === earlier.handed;

  it('is the contract, and what the policy said of it, for the same bytes', () => {
    const contract = makeContract();
    const second = kept(contract);
    expect(decided(contract).handed).toBe(second.handed);
    expect(decided(contract).evaluation).toBe(second.evaluation);
    expect(isKept({ ...contract, intent: 'another' }, second)).toBe(false);
  });

  it('is nothing of what came once, nor of what came again after many others', () => {
    const contract = makeContract();
    expect(isKept(contract, decided(contract))).toBe(false);
    for (let count = 0; count < 100; count += 1) decided(makeContract());
    expect(isKept(contract, decided(contract))).toBe(false);
    expect(isKept(contract, decided(contract))).toBe(true);
  });

  it('is of one identity alone', () => {
    const contract = makeContract();
    const second = kept(contract);
    decided(contract, other);
    expect(isKept(contract, second)).toBe(true);
    expect(isKept(contract, second, other)).toBe(false);
    expect(isKept(contract, decided(contract, 'spiffe://csc.local/client/third'))).toBe(false);
  });

  it('is nothing of what no policy has judged', () => {
    const contract = makeContract();
    read(contract);
    expect(isKept(contract, read(contract))).toBe(false);
  });

  it('says nothing of another policy, nor of the same one read anew', () => {
    const contract = makeContract();
    expect(decided(contract).evaluation.verdict).toBe('allow');
    const stricter = makePolicy('default', { allow_commands: ['cat'] });
    expect(decided(contract, agent, stricter).evaluation.verdict).toBe('deny');
    expect(decided(contract, agent, policy).evaluation.verdict).toBe('allow');
  });

  it('says nothing of a terminal, with one or without', () => {
    const contract = makeContract();
    const withTerminal = () => read(contract).judge(policy, { terminal: true }).verdict;
    expect(withTerminal()).toBe('deny');
    expect(decided(contract).evaluation.verdict).toBe('allow');
    expect(withTerminal()).toBe('deny');
  });

  it('is no more than its bounds, whatever comes', () => {
    const contracts = Array.from({ length: 4 }, () => makeContract());
    const all = contracts.map((contract) => kept(contract));
    expect(contracts.map((contract, at) => isKept(contract, all[at] ?? (none as never)))).toEqual([
      ...[false, true, true, true],
    ]);
    const long = { ...makeContract(), justification: 'x'.repeat(4000) };
    const wide = {
      ...long,
      expected_outputs: Array.from({ length: 300 }, (_, at) => `/workspace/${at}/${'y'.repeat(150)}`),
    };
    const before = kept(long);
    const after = kept(wide);
    expect([isKept(long, before), isKept(wide, after)]).toEqual([true, true]);
    const second = kept({ ...wide, intent: 'again' });
    expect([isKept(wide, after), isKept({ ...wide, intent: 'again' }, second)]).toEqual([false, true]);
    const tooLong = { ...wide, expected_outputs: [...wide.expected_outputs, ...wide.expected_outputs] };
    expect(isKept(tooLong, kept(tooLong))).toBe(false);
  });

  it('is not taken from an identity by what another one asks', () => {
    const contract = makeContract();
    const mine = kept(contract);
    for (let count = 0; count < 100; count += 1) kept(makeContract(), other);
    expect(isKept(contract, mine)).toBe(true);
    decided(contract, 'spiffe://csc.local/client/third');
    expect(isKept(contract, mine)).toBe(false);
  });
});

describe('a contract that comes again', () => {
  let test: TestGate;
  beforeEach(async () => {
    test = await TestGate.open();
  });
  afterEach(async () => {
    await test.close();
    expect(test.errors).toEqual([]);
  });

  const check = async (contract: CommandContract, principal = agent, policyProfile = '') => {
    const { contract: submitted } = toRequest(contract);
    const { decision } = await test
      .as(principal)
      .check({ contract: submitted, policyProfile, terminal: false });
    return decision;
  };

  it('is decided by the clock, the profile and the identity of this time', async () => {
    const contract = makeContract();
    const first = await check(contract);
    test.clock.advance(1000);
    const second = await check(contract);
    expect(second?.expiresAt?.getTime()).toBe((first?.expiresAt?.getTime() ?? 0) + 1000);
    expect(second?.expiresAt?.getTime()).toBe(test.clock.now().getTime() + decisionTtlSec * 1000);
    expect(second?.decisionJson).not.toEqual(first?.decisionJson);
    const limited = await check(contract, agent, 'limited');
    expect(limited).toMatchObject({
      policyProfile: 'limited',
      policySha256: test.policies.byName('limited')?.sha256,
    });
    expect((await check(contract, other))?.policySha256).toBe(first?.policySha256);
    await expect(check(contract, other, 'limited')).rejects.toMatchObject({ code: 'NOT_PERMITTED' });
  });

  it('is denied once the owners have frozen the fleet, and is not any more after that', async () => {
    const [contract, denied] = [makeContract(), deniedContract()];
    const limited = (it: CommandContract) => check(it, agent, 'limited');
    expect((await limited(contract))?.verdict).toBe(Verdict.ALLOW);
    const reasons = (await limited(denied))?.reasonCodes;
    await test.publish({ freeze: { reason: 'look', since: '2026-01-01T00:00:00Z', running: 'finish' } });
    expect((await limited(contract))?.reasonCodes).toEqual(['EMERGENCY_DENY_ALL']);
    expect((await limited(denied))?.reasonCodes).toEqual([...(reasons ?? []), 'EMERGENCY_DENY_ALL']);
    await test.publish({ version: 3 });
    expect((await limited(contract))?.verdict).toBe(Verdict.ALLOW);
    expect((await limited(denied))?.reasonCodes).toEqual(reasons);
  });
});
