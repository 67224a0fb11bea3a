import { describe, expect, it } from 'vitest';
import { isWithin, type Look, walkPath } from './host-path.ts';

const links: Readonly<Record<string, string>> = {
  '/abs': '/data/real',
  '/data/rel': '../other/./x',
  '/loop': 'loop',
  '/up': '../../../data',
  '/chain': 'abs/sub',
};
const absent = new Set(['/missing', '/data/real/missing']);
const look: Look = (path) => {
  if (absent.has(path)) return undefined;
  const target = links[path];
  return target === undefined ? {} : { target };
};

describe('walkPath', () => {
  it('leaves a path without symlinks as it is', () => {
    expect(walkPath('/data//a/./b/', look)).toEqual({ path: '/data/a/b', links: [] });
    expect(walkPath('/', look)).toEqual({ path: '/', links: [] });
  });

  it('follows symlinks and says where they were', () => {
    expect(walkPath('/abs/a', look)).toEqual({
      path: '/data/real/a',
      links: [{ path: '/abs', target: '/data/real' }],
    });
    expect(walkPath('/data/rel/y', look)?.path).toBe('/other/x/y');
    expect(walkPath('/up/z', look)?.path).toBe('/data/z');
    expect(walkPath('/chain', look)?.links.map(({ path }) => path)).toEqual(['/chain', '/abs']);
  });

  it('finds nothing where a part is missing or goes in circles', () => {
    expect(walkPath('/missing', look)).toBeUndefined();
    expect(walkPath('/abs/missing/x', look)).toBeUndefined();
    expect(walkPath('/loop', look)).toBeUndefined();
  });
});

describe('isWithin', () => {
  it('goes by whole names', () => {
    expect(isWithin('/a/b', '/a')).toBe(true);
    expect(isWithin('/a', '/a')).toBe(true);
    expect(isWithin('/ab', '/a')).toBe(false);
    expect(isWithin('/ab', '/')).toBe(true);
  });
});
