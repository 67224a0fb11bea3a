import { contractFromJson, parseContract } from '@csc-fleet/common/contract';
import {
  changed,
  type FixtureFile,
  faultPaths,
  readFixture,
  testCases,
} from '@csc-fleet/test-kit/conformance/fixture';
import { type TextCase, toBytes } from '@csc-fleet/test-kit/conformance/text';
import { describe, expect, it } from 'vitest';

const members = readFixture<FixtureFile>('contracts.json');
const texts = readFixture<FixtureFile<TextCase>>('contract-texts.json');

describe('CommandContract, member by member (protocol §1)', () => {
  testCases(members.cases, (fixture) => contractFromJson(changed(members.base, fixture)));
});

describe('the JSON text of a contract (protocol §1)', () => {
  testCases(texts.cases, (fixture) => parseContract(toBytes(texts.base, fixture)));
});

describe('the words of a fault', () => {
  it.each([
    [{ version: 'csc.v9.9' }, 'unsupported contract version "csc.v9.9"; this build reads csc.v0.1'],
    [{ version: 7 }, 'unsupported contract version of type number; this build reads csc.v0.1'],
    [{ intent: null }, 'must be a string, not null'],
    [{ risk_class: 'x' }, 'must be one of low, medium, high, critical, not "x"'],
    [{ 'commands.0.timeout_sec': 0 }, 'must be at least 1, not 0'],
    [{ 'commands.0.timeout_sec': '30' }, 'must be an integer, not a string'],
    [{ commands: [] }, 'must have at least 1 item, not 0'],
    [{ contract_id: 'short' }, 'must have at least 8 characters, not 5'],
    [{ intent: '' }, 'must not be empty'],
  ])('%j', (change, message) => {
    const contract = contractFromJson(changed(members.base, { change }));
    expect(contract).toMatchObject({ ok: false, faults: [{ message }] });
  });

  it('says what an absent member should be', () => {
    const contract = contractFromJson(
      changed(members.base, { remove: ['actor', 'risk_class', 'commands.0.cwd'] }),
    );
    expect(contract).toEqual({
      ok: false,
      faults: [
        { path: 'actor', message: 'is required (an object)' },
        { path: 'commands[0].cwd', message: 'is required (a string)' },
        { path: 'risk_class', message: 'is required (one of low, medium, high, critical)' },
      ],
    });
  });

  it('stops at a hundred', () => {
    const change = { 'commands.0.read_paths': { $item: 'relative', $times: 5000 } };
    const contract = contractFromJson(changed(members.base, { change }));
    expect(faultPaths(contract)).toHaveLength(101);
  });

  it('tells of a hundred of more faults than a stack can hold', () => {
    const change = { 'commands.0.read_paths': { $item: '', $times: 350_000 } };
    const told = faultPaths(contractFromJson(changed(members.base, { change })));
    const hundred = Array.from({ length: 100 }, (_, index) => `commands[0].read_paths[${index}]`);
    expect(new Set(told)).toEqual(new Set(['', ...hundred]));
  });
});
