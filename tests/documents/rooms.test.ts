import { describe, expect, it } from 'vitest';
import { findFaults, type House } from '../../scripts/imports/find-faults.ts';
import { readArrows } from '../../scripts/imports/graph.ts';

const house: House = {
  common: { packages: [], rooms: { errors: [] } },
  gate: {
    packages: ['common'],
    rooms: { 'index.ts': ['link', 'store'], link: ['store'], store: [] },
  },
};

const at = (path: string): string => `packages/gate/src/${path}`;

function faultsOf(texts: Readonly<Record<string, string>>, plan: House = house): string[] {
  const files = new Map(Object.entries(texts).map(([path, text]) => [at(path), text]));
  const entries = new Map([
    ['@csc-fleet/common/errors', 'packages/common/src/errors/index.ts'],
    ['@csc-fleet/executor', 'packages/executor/src/index.ts'],
    ['@csc-fleet/test-kit/contracts', 'tests/kit/contracts.ts'],
  ]);
  return findFaults(readArrows({ files, entries }), [...files.keys()], plan);
}

describe('the check of imports', () => {
  it('takes what goes the way of the plan', () => {
    const faults = faultsOf({
      'link/session.ts':
        "import { a } from '../store/store.ts';\nimport { b } from '@csc-fleet/common/errors';",
      'store/store.ts': "import { z } from 'zod';",
    });
    expect(faults).toEqual([]);
  });

  it.each([
    ['a value', "import { a } from '../link/session.ts';"],
    ['a type', "import type { A } from '../link/session.ts';"],
    ['a type among values', "import {\n  a,\n  type A,\n} from '../link/session.ts';"],
    ['what is handed on', "export { a } from '../link/session.ts';"],
    ['a side effect', "import '../link/session.ts';"],
    ['a lazy import', "const a = () => import('../link/session.ts');"],
  ])('refuses %s that runs back', (_, text) => {
    expect(faultsOf({ 'store/store.ts': text, 'link/session.ts': '' })).toEqual([
      `${at('store/store.ts')}: in gate, store must not import link (${at('link/session.ts')})`,
    ]);
  });

  it('refuses a plan that goes round', () => {
    const faults = faultsOf({}, { gate: { packages: [], rooms: { link: ['store'], store: ['link'] } } });
    expect(faults).toEqual(['gate: the plan goes round: link → store → link']);
  });

  it('refuses files of one room that import each other', () => {
    const faults = faultsOf({
      'link/a.ts': "import type { B } from './b.ts';",
      'link/b.ts': "import { a } from './a.ts';",
    });
    expect(faults).toEqual([
      `these files import each other: ${at('link/a.ts')} → ${at('link/b.ts')} → ${at('link/a.ts')}`,
    ]);
  });

  it('refuses a file that is in no room', () => {
    expect(faultsOf({ 'loose.ts': '' })).toEqual([`${at('loose.ts')}: loose.ts is no room of gate`]);
  });

  it('refuses another package, and what is never shipped', () => {
    const text = "import '@csc-fleet/executor';\nimport '@csc-fleet/test-kit/contracts';";
    expect(faultsOf({ 'link/session.ts': text })).toEqual([
      `${at('link/session.ts')}: gate must not import executor`,
      `${at('link/session.ts')} must not import tests/kit/contracts.ts, which is never shipped`,
    ]);
  });
});
