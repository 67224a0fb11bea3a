import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { githubClaims, githubPrincipal, serve, TestIssuer } from '@csc-fleet/test-kit/issuer';
import { exportSPKI, generateKeyPair, importJWK, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CscError } from '../errors/index.ts';
import { type Issuer, parseIssuers } from '../owners/index.ts';
import { judgeToken, tokenAudience } from './index.ts';
import { createIssuerKeys, openToken } from './issuer-keys.ts';

const publicKey = new Uint8Array(32).fill(7);
const aud = tokenAudience('csc.local', publicKey);
const claims = { ...githubClaims, aud };
let issuer: TestIssuer;
let issuers: readonly Issuer[];

const parse = (...described: object[]) =>
  parseIssuers(Buffer.from(JSON.stringify({ issuers_version: 'csc.issuers.v0.1', issuers: described })));

function described(...all: object[]): readonly Issuer[] {
  const read = parse(...all);
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.issuers;
}

const faultsOf = (over: object) => {
  const read = parse(issuer.pinned(over));
  return read.ok ? [] : read.faults.map(({ path }) => path);
};

beforeAll(async () => {
  issuer = await TestIssuer.make(undefined, 'ES256');
  issuers = described(issuer.pinned());
});

/** Whom a token speaks for, or why it is refused. */
async function judge(
  text: string,
  {
    of = issuers,
    now = new Date(),
    usedAt = now,
    keys = createIssuerKeys(),
  }: { of?: readonly Issuer[]; now?: Date; usedAt?: Date; keys?: Parameters<typeof openToken>[2] } = {},
): Promise<string> {
  const token = await openToken(text, of, keys);
  const refused = (error: unknown): string => {
    if (!(error instanceof CscError)) throw error;
    if (text !== '') expect(error.message).not.toContain(text.slice(-20));
    return error.message;
  };
  if (token instanceof CscError) return refused(token);
  try {
    return judgeToken(token, { issuers: of, trustDomain: 'csc.local', publicKey, usedAt, now }).principal;
  } catch (error) {
    return refused(error);
  }
}

const part = (value: string | object) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

describe('a token', () => {
  it.each(['RS256', 'ES256', 'EdDSA'] as const)(
    'says who it is of where its issuer signed it: %s',
    async (algorithm) => {
      const it = algorithm === 'ES256' ? issuer : await TestIssuer.make(undefined, algorithm);
      expect(await judge(await it.sign(claims), { of: described(it.pinned()) })).toBe(githubPrincipal);
    },
  );

  it('is not verified by what it says of itself: none, a public key as a secret, keys in its header', async () => {
    const [jwk] = issuer.keys;
    const pem = await exportSPKI((await importJWK(jwk as JWK, 'ES256', { extractable: true })) as never);
    const hs256 = await issuer.sign(claims, { header: { alg: 'HS256' }, signWith: Buffer.from(pem) });
    expect(await judge(hs256)).toMatch(/not signed by one of/);
    const payload = (await issuer.sign(claims)).split('.')[1] ?? '';
    expect(await judge(`${part({ alg: 'none', kid: 'key-1' })}.${payload}.`)).toMatch(/no JWT/);
    expect(await judge(`${part({ alg: 'none', kid: 'key-1' })}.${payload}.AA`)).toMatch(
      /not signed by one of/,
    );
    const own = await generateKeyPair('ES256');
    expect(await judge(await issuer.sign(claims, { signWith: own.privateKey }))).toMatch(
      /its signature is not/,
    );
    for (const name of ['jwk', 'jku', 'x5u', 'x5c'])
      expect(
        await judge(
          await issuer.sign(claims, {
            signWith: own.privateKey,
            header: { [name]: 'https://evil.example/' },
          }),
        ),
      ).toMatch(new RegExp(`says ${name}`));
    for (const kid of ['../../../dev/null', "key-1' OR 1=1", '__proto__', 'key-2'])
      expect(await judge(await issuer.sign(claims, { header: { kid } }))).toMatch(/no key of that id/);
    // Its issuer signs by what the owners say, and no other way.
    const rsa = await TestIssuer.make();
    expect(await judge(await rsa.sign(claims))).toMatch(/lets .* sign by ES256/);
  });

  it('is read by all alike: no key twice, no other base64, nothing that is too long', async () => {
    const [header = '', payload = '', signature = ''] = (await issuer.sign(claims)).split('.');
    const twice = Buffer.from(payload, 'base64url').toString().replace('{', '{"repository":"evil/app",');
    expect(await judge(`${header}.${part(twice)}.${signature}`)).toMatch(/every reader understands alike/);
    expect(await judge(`${header}.${payload}=.${signature}`)).toMatch(/no JWT/);
    expect(await judge(`${header}.${payload}\n.${signature}`)).toMatch(/no JWT/);
    // 29 bytes leave two bits of the last letter, which say nothing: with them set, another text says the same.
    const spare = `${part('{"alg":"ES256","kid":"key-1"}').slice(0, -1)}1`;
    expect(await judge(`${spare}.${payload}.${signature}`)).toMatch(/no canonical base64url/);
    expect(await judge(await issuer.sign({ ...claims, pad: 'x'.repeat(8192) }))).toMatch(/characters/);
    expect(await judge(`${header}.${part('['.repeat(3000))}.${signature}`)).toMatch(/every reader/);
    expect(await judge('')).toMatch(/no JWT/);
  });

  it('counts from when it is issued to when it ends, and clocks may differ by no more than the owners say', async () => {
    const now = new Date(1_800_000_000_000);
    const of = described(
      issuer.pinned({ clock_tolerance_sec: 30, max_token_age_sec: 200, max_wait_sec: 100 }),
    );
    const text = await issuer.sign(claims, { now });
    const at = (sec: number, usedSec = sec) =>
      judge(text, {
        of,
        now: new Date(now.getTime() + sec * 1000),
        usedAt: new Date(now.getTime() + usedSec * 1000),
      });
    expect(await at(-31)).toBe(githubPrincipal);
    expect(await at(-32)).toMatch(/not good yet/);
    expect(await at(229)).toBe(githubPrincipal);
    expect(await at(230)).toMatch(/too old/);
    expect(await at(329, 100)).toBe(githubPrincipal);
    expect(await at(330, 100)).toMatch(/submit it again/);
    const token = await openToken(text, of, createIssuerKeys());
    if (token instanceof CscError) throw token;
    const { startsBy } = judgeToken(token, {
      issuers: of,
      trustDomain: 'csc.local',
      publicKey,
      usedAt: now,
      now,
    });
    expect(startsBy).toEqual(new Date(now.getTime() + 329_000));
    // Dated ahead, so that it would be good for longer.
    expect(await at(-40, 10)).toMatch(/not good yet/);
    for (const over of [
      { exp: undefined },
      { iat: undefined },
      { exp: '2000000000' },
      { exp: 0 },
      { exp: 1e300 },
    ])
      expect(await judge(await issuer.sign({ ...claims, ...over }, { now }), { of, now })).not.toBe(
        githubPrincipal,
      );
  });

  it('is of nobody where a claim is not whole what the owners demand', async () => {
    const nobody = async (over: object) =>
      expect(await judge(await issuer.sign({ ...claims, ...over }))).toMatch(/no principal|aud|sub|iss/);
    await nobody({ repository: 'acme/app2' });
    await nobody({ repository: 'evil/acme/app' });
    await nobody({ repository: 'ACME/app' });
    await nobody({ repository: ['acme/app'] });
    await nobody({ repository_owner_id: '43' });
    await nobody({ ref: 'refs/heads/a/b' });
    await nobody({ ref: 'refs/heads/a\nb' });
    await nobody({ ref: 'xrefs/heads/main' });
    await nobody({ ref: undefined });
    await nobody({ sub: undefined });
    await nobody({ aud: [aud, aud] });
    await nobody({ aud: aud.toUpperCase() });
    // Whoever asks an issuer by hand learns here what for.
    for (const other of ['csc', 'csc:csc.local:0', 'csc:other.local:0'])
      expect(await judge(await issuer.sign({ ...claims, aud: other }))).toContain(`the audience ${aud}`);
    await nobody({ iss: `${issuer.url}/` });
  });

  it('cannot say more in a claim than one part of a name, and no two claims come to one', async () => {
    const of = described(
      issuer.pinned({
        principals: [{ principal: 'ci.{ref}.{workflow}', claims: { repository: 'acme/app' } }],
      }),
    );
    const name = async (ref: string, workflow: string) =>
      judge(await issuer.sign({ ...claims, ref, workflow }), { of });
    const names = await Promise.all([
      name('a.b', 'c'),
      name('a', 'b.c'),
      name('a_2eb', 'c'),
      name('a*', 'c'),
      name('ä', '/../'),
    ]);
    expect(names).toEqual([
      'spiffe://csc.local/client/ci.a_2eb.c',
      'spiffe://csc.local/client/ci.a.b_2ec',
      'spiffe://csc.local/client/ci.a_5f2eb.c',
      'spiffe://csc.local/client/ci.a_2a.c',
      'spiffe://csc.local/client/ci._c3_a4._2f_2e_2e_2f',
    ]);
    expect(await name('x'.repeat(300), 'c')).toMatch(/no name of a principal/);
    expect(await name('', 'c')).toMatch(/no claim ref/);
  });
});

describe('issuers.yaml', () => {
  it('lets nobody in by a claim that anybody could have, nor two issuers name one principal', () => {
    const principals = (claims: object, principal = 'ci.{ref}') => ({ principals: [{ principal, claims }] });
    const at = ['issuers[0].principals[0].claims'];
    expect(faultsOf(principals({ ref: 'refs/heads/main' }))).toEqual(at);
    expect(faultsOf(principals({ repository: '*' }))).toEqual(at);
    expect(faultsOf(principals({ repository: ['acme/app', 'acme/*'] }))).toEqual(at);
    expect(faultsOf(principals({ repository: 'acme/app', ref: '*/*' }))).toEqual([
      'issuers[0].principals[0].claims.ref',
    ]);
    // Nothing is put in its place.
    for (const ref of ['refs/heads/{branch}', '<branch>', '{{ github.ref }}'])
      expect(faultsOf(principals({ repository: 'acme/app', ref }))).toEqual([`${at[0]}.ref`]);
    const template = ['issuers[0].principals[0].principal'];
    for (const text of ['{ref}', 'ci{ref}', 'ci.{ref}{sub}', 'ci..{ref}', 'ci.*', 'ci.{ref}.'])
      expect(faultsOf(principals({ repository: 'acme/app' }, text))).toEqual(template);
    const read = parse(issuer.pinned(), issuer.pinned({ issuer: 'https://other.example' }));
    expect(read.ok ? [] : read.faults.map(({ path }) => path)).toEqual(['issuers[1].principals']);
  });

  it('has no two rules of which a branch, environment or workflow of a cunning name makes one principal', () => {
    const rules = (...all: readonly (readonly [string, object])[]) =>
      faultsOf({
        principals: all.map(([principal, more]) => ({
          principal,
          claims: { repository: 'acme/app', ...more },
        })),
      });
    const at = (index: number) => [`issuers[0].principals[${index}].principal`];
    const main = { ref: 'refs/heads/main' };
    expect(rules(['ci.deploy', main], ['ci.{environment}', {}])).toEqual(at(1));
    expect(rules(['ci.{workflow}', {}], ['ci.{environment}', {}])).toEqual(at(1));
    expect(rules(['ci.{repository}.prod', main], ['ci.{repository}.{actor}', {}])).toEqual(at(1));
    expect(rules(['ci.x_2fprod', main], ['ci.{ref}', { ref: 'x/*' }])).toEqual(at(1));
    expect(rules(['ci.{ref}', { ref: 'a*' }], ['ci.{workflow}', { workflow: ['b', 'a*b'] }])).toEqual(at(1));
    for (const apart of [
      [
        ['ci.deploy', main],
        ['ci.branch.{environment}', {}],
      ],
      [
        ['ci.{ref}', main],
        ['ci.{ref}', {}],
      ],
      [
        ['ci.deploy', main],
        ['ci.{ref}', { ref: 'refs/heads/*' }],
      ],
      [
        ['ci.{repository}.prod', main],
        ['ci.{repository}.{actor}', { repository: 'acme/other' }],
      ],
      [
        ['ci.de_ploy', main],
        ['ci.{environment}', {}],
      ],
    ] as const)
      expect(rules(...apart), JSON.stringify(apart)).toEqual([]);
  });

  it('says by which keys, never by a secret, and that a binding is weak', () => {
    expect(faultsOf({ algorithms: ['HS256'] })).toEqual(['issuers[0].algorithms[0]']);
    expect(faultsOf({ algorithms: ['none'] })).toEqual(['issuers[0].algorithms[0]']);
    expect(faultsOf({ fetch: {} })).toEqual(['issuers[0].jwks']);
    expect(faultsOf({ issuer: 'http://token.example' })).toEqual(['issuers[0].issuer']);
    expect(faultsOf({ jwks: { keys: [{ ...issuer.keys[0], d: 'AA' }] } })).toEqual([
      'issuers[0].jwks.keys[0].d',
    ]);
    const gitlab = { kind: 'gitlab', principals: [{ principal: 'ci.{ref}', claims: { project_id: '7' } }] };
    expect(faultsOf(gitlab)).toEqual(['issuers[0].binding']);
    expect(faultsOf({ ...gitlab, binding: 'weak' })).toEqual(['issuers[0].audience']);
    expect(faultsOf({ ...gitlab, binding: 'weak', audience: 'csc' })).toEqual([]);
  });

  it('with a weak binding takes the one audience that it names, and says weak', async () => {
    const of = described(issuer.pinned({ binding: 'weak', audience: 'https://csc.acme.example' }));
    expect(await judge(await issuer.sign({ ...claims, aud: 'https://csc.acme.example' }), { of })).toBe(
      githubPrincipal,
    );
    expect(await judge(await issuer.sign(claims), { of })).toMatch(/another audience/);
  });
});

describe('keys that are fetched', () => {
  const directory = mkdtempSync(join(tmpdir(), 'csc-oidc-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  let tls: { cert: string; key: string };
  let ca: string;

  beforeAll(async () => {
    await createDevelopmentPki(directory, {});
    const file = (name: string) => readFileSync(join(directory, name), 'utf8');
    tls = { cert: file('gate.pem'), key: file('gate.key') };
    ca = file('ca.pem');
  });

  /** An issuer that is really asked, over TLS. */
  async function open(answer: (path: string, issuer: TestIssuer) => ReturnType<Parameters<typeof serve>[0]>) {
    let it: TestIssuer | undefined;
    const server = await serve((path) => (it === undefined ? undefined : answer(path, it)), tls);
    it = await TestIssuer.make(server.url, 'ES256');
    let at = 1_800_000_000_000;
    const clock = { now: () => new Date(at) };
    const keys = createIssuerKeys(clock);
    const of = described({ ...it.described(), fetch: { ca, max_stale_sec: 3600 } });
    const asks = async (over: object = {}) =>
      judge(await it.sign(claims, { now: clock.now(), ...over }), { of, keys, now: clock.now() });
    return {
      server,
      issuer: it,
      asks,
      pass: (sec: number) => {
        at += sec * 1000;
      },
    };
  }

  const published = (path: string, { url, keys }: TestIssuer) =>
    path === '/.well-known/openid-configuration'
      ? {
          body: JSON.stringify({
            issuer: url,
            jwks_uri: `${url}/keys`,
            response_types_supported: ['id_token'],
          }),
        }
      : {
          body: JSON.stringify({
            keys: [
              { kty: 'oct', kid: 'key-1', k: 'AAAA' },
              { kty: 'EC', crv: 'P-384', kid: 'key-1' },
              ...keys,
            ],
          }),
        };

  it('are kept, asked for again for an id that is new, and a flood of such ids asks once', async () => {
    const { server, issuer: it, asks, pass } = await open(published);
    expect(await asks()).toBe(githubPrincipal);
    expect(await asks()).toBe(githubPrincipal);
    expect(server.asked).toEqual(['/.well-known/openid-configuration', '/keys']);
    await it.rotate();
    pass(31);
    expect(await asks()).toBe(githubPrincipal);
    expect(server.asked.length).toBe(4);
    for (let id = 0; id < 20; id++)
      expect(await asks({ header: { kid: `id-${id}` } })).toMatch(/no key of that id/);
    pass(31);
    await Promise.all(Array.from({ length: 20 }, (_, id) => asks({ header: { kid: `id-${id}` } })));
    expect(server.asked.length).toBe(6);
    server.close();
    // It is away: what was fetched goes on for as long as the owners let it.
    pass(3500);
    expect(await asks()).toBe(githubPrincipal);
    pass(200);
    expect(await asks()).toMatch(/could not be fetched/);
  });

  const discovery = '/.well-known/openid-configuration';

  it.each([
    ['another server', '/keys', { status: 302, location: 'https://127.0.0.1:1/' }, /it answered 302/],
    ['more than is taken', '/keys', { body: `{"keys":[${' '.repeat(300_000)}]}` }, /more than/],
    ['a key twice', '/keys', { body: '{"keys":[],"keys":[]}' }, /no strict JSON/],
    ['no keys', '/keys', { body: '{"keys":[]}' }, /no JWKS/],
    ['another protocol', '/keys', { status: 101 }, /hung up without an answer/],
    ['another issuer', discovery, { body: '{"issuer":"https://evil.example"}' }, /of another issuer/],
  ])('are none where what is there leads to %s', async (_, at, answer, why) => {
    const { server, asks } = await open((path, it) => (path === at ? answer : published(path, it)));
    expect(await asks()).toMatch(why);
    server.close();
  });

  it('are none of another host than the issuer’s own, whatever its discovery document says', async () => {
    const elsewhere = (path: string, it: TestIssuer) =>
      path === discovery
        ? { body: JSON.stringify({ issuer: it.url, jwks_uri: 'https://evil.example/keys' }) }
        : published(path, it);
    const { server, asks } = await open(elsewhere);
    expect(await asks()).toMatch(/no jwks_uri on the same host/);
    server.close();
  });

  it('are none without leave, nor by a CA that the owners do not name', async () => {
    const { server, issuer: it } = await open(published);
    const text = await it.sign(claims);
    const without = described({ ...it.described(), fetch: {} });
    expect(await judge(text, { of: without })).toMatch(/could not be asked/);
    expect(await judge(text, { of: described(it.pinned({ jwks: { keys: issuer.keys } })) })).toMatch(
      /signature is not/,
    );
    expect(server.asked).toEqual([]);
    server.close();
  });
});
