import { describe, expect, it } from 'vitest';
import { ScopeClaims } from './scope-claims.ts';

const scopes = (changes: { reads?: string[]; writes?: string[]; fixed?: string[] }) => ({
  reads: [],
  writes: [],
  fixed: [],
  ...changes,
});

describe('who may change a directory', () => {
  it('is whoever has it in a write scope, for as long as that runs', () => {
    const claims = new ScopeClaims();
    expect(claims.mayChange('/w')).toBe(false);
    const claim = claims.claim(scopes({ reads: ['/r'], writes: ['/w'] }));
    expect(['/w', '/w/deep', '/', '/www', '/r'].map((path) => claims.mayChange(path))).toEqual([
      ...[true, true, false, false, false],
    ]);
    claim.release();
    expect(claims.mayChange('/w')).toBe(false);
  });

  it('is also whoever may have been handed an open directory, from one to the next', () => {
    const claims = new ScopeClaims();
    const first = claims.claim(scopes({ writes: ['/w', '/shared'] }));
    const second = claims.claim(scopes({ reads: ['/shared/in'], writes: ['/other'] }));
    const stranger = claims.claim(scopes({ writes: ['/far'] }));
    first.release();
    expect(claims.mayChange('/w')).toBe(true);
    const third = claims.claim(scopes({ reads: ['/other'] }));
    second.release();
    expect(claims.mayChange('/w')).toBe(true);
    third.release();
    expect(claims.mayChange('/w')).toBe(false);
    stranger.release();
  });
});

describe('a command that could change what a sandbox is being built on', () => {
  it('waits until that is built, and nobody else does', async () => {
    const claims = new ScopeClaims();
    const building = Promise.withResolvers<boolean>();
    const builder = claims.claim(scopes({ reads: ['/w'], writes: ['/w/out'], fixed: ['/w'] }));
    builder.buildsUntil(building.promise);
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    const rival = claims
      .claim(scopes({ writes: ['/w'] }))
      .mayStart()
      .then(note('rival'));
    await claims
      .claim(scopes({ writes: ['/w/out'] }))
      .mayStart()
      .then(note('other'));
    building.resolve(true);
    await building.promise.then(note('built'));
    await rival;
    expect(order).toEqual(['other', 'built', 'rival']);
  });

  it('does not start where its own was not built as planned', async () => {
    const claim = new ScopeClaims().claim(scopes({ reads: ['/w'], writes: ['/w/out'], fixed: ['/w'] }));
    claim.buildsUntil(Promise.resolve(false));
    expect(await claim.mayStart()).toBe(false);
  });
});
