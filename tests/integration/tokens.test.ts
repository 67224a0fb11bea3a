import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  buildkiteTokens,
  connect,
  connectByToken,
  type GateClient,
  githubTokens,
  type TokenSource,
  tokenSource,
} from '@csc-fleet/client';
import { parseIssuers } from '@csc-fleet/common/owners';
import { bindingsFromJson } from '@csc-fleet/common/policy';
import { ExecutorLinkClient, readChannelCredentials } from '@csc-fleet/common/rpc';
import { parseSubmission } from '@csc-fleet/common/submission';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { agent, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { githubClaims, githubPrincipal, serve, TestIssuer } from '@csc-fleet/test-kit/issuer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const bindings = bindingsFromJson({
  bindings_version: 'csc.bindings.v0.2',
  bindings: [{ identity: githubPrincipal, policies: ['default', 'bound'] }],
});
let pki: TestPki;
let issuer: TestIssuer;
let test: TestGate;
let served: ServedGate;
const open: GateClient[] = [];

beforeAll(async () => {
  [pki, issuer] = await Promise.all([TestPki.make(), TestIssuer.make(undefined, 'ES256')]);
  if (!bindings.ok) throw new Error(JSON.stringify(bindings.faults));
  test = await TestGate.open({ bindings: bindings.value });
  // Clients go by the clock of this host.
  test.clock.advance(Date.now() - test.clock.now().getTime());
  await test.publish({ issuers: issuersOf(issuer.pinned()) });
  served = await ServedGate.start(test.gate, pki, {}, undefined, true);
});
afterAll(async () => {
  for (const client of open) client[Symbol.dispose]();
  await served.stop();
  await test.close();
  pki.remove();
});

/** As the owners have it in issuers.yaml. */
function issuersOf(...issuers: readonly object[]) {
  const read = parseIssuers(Buffer.from(JSON.stringify({ issuers_version: 'csc.issuers.v0.1', issuers })));
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.issuers;
}

/** The tokens of a job of acme/app, each of another number. */
const tokens: TokenSource = (aud) => issuer.sign({ ...githubClaims, aud });

async function job(token: TokenSource = tokens): Promise<GateClient> {
  const { ca } = pki.files('gate');
  const client = await connectByToken({ address: served.address, ca, token, connectTimeout: 0 });
  open.push(client);
  return client;
}

describe('a job that has a token and no certificate of ours', () => {
  it('is whom the owners make of it, and its token goes to a host that takes tokens, and is kept no longer', async () => {
    const older = await test.connected('older');
    const host = test.executor('host');
    await host.connect([], { takesTokens: true });
    const client = await job();
    expect(await client.principal()).toBe(githubPrincipal);
    const { executionId } = await client.submit(makeContract());
    const offer = await host.next('offer', executionId);
    const submission = parseSubmission(offer.submissionJson);
    expect(submission).toMatchObject({ ok: true, value: { principal: githubPrincipal } });
    expect(offer.submissionToken).toMatch(/^ey/);
    expect(older.received.filter(({ $case }) => $case === 'offer')).toEqual([]);
    await host.finish(offer);
    const { execution } = await client.getExecution(executionId);
    expect(execution.principal).toBe(githubPrincipal);
    const events = JSON.stringify(await test.events(executionId, githubPrincipal));
    expect(events).not.toContain(String(offer.submissionToken).slice(-20));
    expect(test.storedToken(executionId)).toBeNull();
    older.disconnect();
    host.disconnect();
  });

  it('sees nothing of others', async () => {
    const { executionId } = await test.submit(makeContract(), { principal: githubPrincipal });
    const client = await job();
    await expect(client.getExecution(executionId)).resolves.toBeDefined();
    const another = await job((aud) => issuer.sign({ ...githubClaims, aud, ref: 'refs/heads/other' }));
    await expect(another.getExecution(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
  });

  it.each([
    [
      'another key',
      () => issuer.sign({ ...githubClaims, aud: `csc:csc.local:${'0'.repeat(64)}` }),
      /another key/,
    ],
    [
      'another trust domain',
      (aud: string) => issuer.sign({ ...githubClaims, aud: aud.replace('csc.local', 'a.b') }),
      /aud/,
    ],
    [
      'another repository',
      (aud: string) => issuer.sign({ ...githubClaims, aud, repository: 'evil/app' }),
      /claims like these/,
    ],
    [
      'a while ago',
      (aud: string) => issuer.sign({ ...githubClaims, aud }, { now: new Date(Date.now() - 600_000) }),
      /had ended/,
    ],
  ])('is let in by no token of %s', async (_, token, why) => {
    await expect(job(token)).rejects.toMatchObject({
      code: 'CREDENTIALS_INVALID',
      message: expect.stringMatching(why),
    });
  });
});

it('a job is let in no longer by a key that its issuer has taken back, though its token was known', async () => {
  const tls = {
    cert: readFileSync(pki.files('gate').cert, 'utf8'),
    key: readFileSync(pki.files('gate').key, 'utf8'),
  };
  const server = await serve(() => ({ body: JSON.stringify({ keys: theirs.keys }) }), tls);
  const theirs = await TestIssuer.make('https://ci.example', 'ES256');
  const ca = readFileSync(pki.files('gate').ca, 'utf8');
  const fetch = { jwks_uri: `${server.url}/jwks`, ca, max_stale_sec: 600 };
  await test.publish({ issuers: issuersOf({ ...theirs.described(), kind: 'generic', fetch }) });
  const given = new Map<string, string>();
  const end = Math.floor(Date.now() / 1000) + 3000;
  const client = await job(async (aud) => {
    const token = given.get(aud) ?? (await theirs.sign({ ...githubClaims, aud, exp: end }));
    given.set(aud, token);
    return token;
  });
  expect(await client.principal()).toBe(githubPrincipal);
  theirs.keys.splice(0);
  await theirs.rotate();
  // What was fetched is good for ten minutes, and no opened token for longer.
  expect(await client.principal()).toBe(githubPrincipal);
  expect(server.asked).toHaveLength(1);
  test.clock.advance(600_000);
  await expect(client.principal()).rejects.toMatchObject({
    code: 'CREDENTIALS_INVALID',
    message: expect.stringMatching(/none of its issuer’s any more/),
  });
  test.clock.advance(-600_000);
  server.close();
  await test.publish({ issuers: issuersOf(issuer.pinned()) });
});

describe('what else comes without a certificate of ours', () => {
  /** A key that has signed itself, and no token. */
  async function stranger(bearer?: () => Promise<string>) {
    const { tls } = await identify();
    return { tls, bearer };
  }
  const identify = async () => {
    const { identifyByToken } = await import('@csc-fleet/client');
    return identifyByToken({ address: served.address, ca: pki.files('gate').ca, token: tokens });
  };

  it('is nobody without a token, and with somebody else’s', async () => {
    const { tls } = await stranger();
    const reach = { address: served.address, connectTimeout: 0 };
    using without = connect({ ...reach, tls });
    await expect(without.profiles()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' });
    const { bearer } = await identify();
    using thief = connect({ ...reach, tls, bearer });
    await expect(thief.profiles()).rejects.toMatchObject({ code: 'CREDENTIALS_INVALID' });
  });

  it('is no executor, whatever it brings', async () => {
    const { tls, bearer } = await identify();
    const link = new ExecutorLinkClient(
      served.address,
      readChannelCredentials(tls, { role: 'gate', bearer }),
    );
    const failed = await new Promise<{ details?: string }>((resolve) => link.connect().on('error', resolve));
    expect(failed.details).toMatch(/client certificate is required/);
    link.close();
  });

  it('and a certificate of ours goes before any token', async () => {
    const { bearer } = await identify();
    using client = connect({ address: served.address, tls: pki.files('client-agent'), bearer });
    expect(await client.principal()).toBe(agent);
  });
});

describe('where a token comes from', () => {
  it('github: asked of the runner for this audience, with its secret, and nothing of it in an error', async () => {
    const server = await serve((path, { authorization }) =>
      authorization === 'Bearer runner' && path.includes('audience=csc%3Aa%3Ab')
        ? { body: JSON.stringify({ value: 'a.b.c' }) }
        : { status: 403, body: 'the secret' },
    );
    const env = (secret: string) => ({
      ACTIONS_ID_TOKEN_REQUEST_URL: `${server.url}/?api-version=2`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: secret,
    });
    await expect(githubTokens(env('runner'))('csc:a:b')).resolves.toBe('a.b.c');
    const error = await githubTokens(env('another'))('csc:a:b').catch((it: unknown) => it);
    expect(String(error)).toMatch(/answered 403/);
    expect(String(error)).not.toMatch(/secret|another/);
    expect(() => githubTokens({})).toThrow(/id-token: write/);
    server.close();
  });

  it('buildkite: its agent; others: a variable or a file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'csc-token-'));
    const agentProgram = join(directory, 'agent');
    writeFileSync(
      agentProgram,
      '#!/bin/sh\n[ "$*" = "oidc request-token --audience csc:a:b" ] && echo x.y.z\n',
    );
    chmodSync(agentProgram, 0o755);
    await expect(buildkiteTokens(agentProgram)('csc:a:b')).resolves.toBe('x.y.z');
    await expect(buildkiteTokens(agentProgram)('other')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    writeFileSync(join(directory, 'token'), 'f.i.l\n');
    await expect(tokenSource(`file:${directory}/token`)('any')).resolves.toBe('f.i.l');
    await expect(tokenSource('gitlab', { CSC_ID_TOKEN: 'g.i.t' })('any')).resolves.toBe('g.i.t');
    await expect(tokenSource('env:MINE', { MINE: 'm.i.n' })('any')).resolves.toBe('m.i.n');
    expect(() => tokenSource('env:MINE', { MINE: 'my secret' })).toThrow(/^(?!.*my secret)/);
    expect(() => tokenSource('ftp:x')).toThrow(/come from github/);
    rmSync(directory, { recursive: true });
  });
});
