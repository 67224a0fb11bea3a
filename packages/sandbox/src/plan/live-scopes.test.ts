import { describe, expect, it } from 'vitest';
import { LiveScopes } from './live-scopes.ts';

const bind = (source: string, writable: boolean) => ({ fd: 3, source, destination: source, writable });
const reach = (...binds: ReturnType<typeof bind>[]) => ({ binds, network: 'deny' as const });

describe('LiveScopes', () => {
  it('says where two can meet: above, below and at a path that one may write', () => {
    const live = new LiveScopes();
    live.enter(reach(bind('/w/a', true), bind('/r', false)));
    const shared = (path: string, writable: boolean) => {
      const { shared: found, leave } = live.enter(reach(bind(path, writable)));
      leave();
      return found;
    };
    for (const path of ['/w', '/w/a', '/w/a/b']) expect(shared(path, false)).toEqual([path]);
    expect(shared('/r/x', true)).toEqual(['/r/x']);
    for (const path of ['/r', '/w/ab', '/x']) expect(shared(path, false)).toEqual([]);
  });

  it('lets one at most have what it would share, whoever comes and goes', () => {
    const live = new LiveScopes();
    const first = live.enter(reach(bind('/w', true)));
    const second = live.enter(reach(bind('/w', true)));
    first.leave();
    const third = live.enter(reach(bind('/w', true)));
    second.leave();
    third.leave();
    const fourth = live.enter(reach(bind('/w', true)));
    const shared = [first, second, third, fourth].map((it) => it.shared.length);
    expect(shared).toEqual([0, 1, 1, 0]);
  });

  it('counts the host’s network, with its abstract sockets, for a place to meet', () => {
    const live = new LiveScopes();
    const full = { binds: [], network: 'full' } as const;
    expect(live.enter(full).shared).toEqual([]);
    expect(live.enter({ binds: [], network: 'allowlisted' }).shared).toEqual([]);
    expect(live.enter(full).shared).toEqual(['the network']);
  });
});
