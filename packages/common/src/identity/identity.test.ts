import { describe, expect, it } from 'vitest';
import { parseIdentity, toIdentityUri } from './identity.ts';

describe('parseIdentity', () => {
  it.each([
    ['spiffe://csc.local/client/ci', 'client', 'ci', 'csc.local'],
    ['spiffe://a/gate/G-1.x_y', 'gate', 'G-1.x_y', 'a'],
    ['spiffe://prod.example.org/executor/build-1', 'executor', 'build-1', 'prod.example.org'],
  ])('reads %s', (uri, role, name, trustDomain) => {
    expect(parseIdentity(uri)).toEqual({ uri, role, name, trustDomain });
    expect(toIdentityUri(trustDomain, role as 'client', name)).toBe(uri);
  });

  it.each([
    '',
    'spiffe://csc.local',
    'spiffe://csc.local/',
    'spiffe://csc.local/client',
    'spiffe://csc.local/client/',
    'spiffe://csc.local/client/a/b',
    'spiffe://csc.local/client/a/',
    'spiffe://csc.local/client//a',
    'spiffe://csc.local/admin/a',
    'spiffe://csc.local/Client/a',
    'spiffe://CSC.local/client/a',
    'SPIFFE://csc.local/client/a',
    'spiffe://csc.local:443/client/a',
    'spiffe://user@csc.local/client/a',
    'spiffe:///client/a',
    'spiffe://csc.local/client/.',
    'spiffe://csc.local/client/..',
    'spiffe://csc.local/client/%2e',
    'spiffe://csc.local/client/a?x',
    'spiffe://csc.local/client/a#x',
    'spiffe://csc.local/client/a b',
    'spiffe://csc.local/client/ü',
    'spiffe://csc.local/client/a\n',
    ' spiffe://csc.local/client/a',
    'https://csc.local/client/a',
    `spiffe://csc.local/client/${'a'.repeat(256)}`,
  ])('refuses %j', (uri) => {
    expect(parseIdentity(uri)).toBeUndefined();
  });
});
