import { describe, expect, it } from 'vitest';
import { type CommandShort, makeContract } from '../testing/contracts.ts';
import { buildCeiling, checkCeiling, type HostCeiling } from './ceiling.ts';

const contract = (...commands: CommandShort[]) => makeContract('/work', commands);

function refusedMembers(commands: CommandShort[], ceiling: HostCeiling = buildCeiling): string[] {
  try {
    checkCeiling(contract(...commands), ceiling);
  } catch (error) {
    expect(error).toMatchObject({ code: 'HOST_CEILING_EXCEEDED' });
    return (error as { faults: { path: string }[] }).faults.map(({ path }) => path);
  }
  return [];
}

describe('checkCeiling', () => {
  it('grants what needs neither network nor secrets', () => {
    expect(refusedMembers([{}, { id: 'b' }])).toEqual([]);
  });

  it.each(['allowlisted', 'full'] as const)('refuses network %s', (network) => {
    expect(refusedMembers([{ network }])).toEqual(['commands[0].network']);
  });

  it('refuses secrets', () => {
    expect(refusedMembers([{}, { id: 'b', secret_refs: ['token'] }])).toEqual(['commands[1].secret_refs']);
  });

  it('names everything at once', () => {
    const asked = { network: 'full', secret_refs: ['token'] } as const;
    expect(
      refusedMembers([
        { ...asked, secret_refs: ['a'] },
        { id: 'b', network: 'allowlisted' },
      ]),
    ).toEqual(['commands[0].network', 'commands[0].secret_refs', 'commands[1].network']);
  });

  it('grants what a host can enforce', () => {
    const wide: HostCeiling = { network: ['deny', 'allowlisted'], secrets: true };
    expect(refusedMembers([{ network: 'allowlisted', secret_refs: ['a'] }], wide)).toEqual([]);
    expect(refusedMembers([{ network: 'full' }], wide)).toEqual(['commands[0].network']);
  });
});
