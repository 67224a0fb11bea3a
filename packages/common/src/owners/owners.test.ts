import { describe, expect, it } from 'vitest';
import { formatVkey } from '../tlog/index.ts';
import {
  createRevocations,
  parseFreeze,
  parseHosts,
  parseLog,
  parseRevoked,
  type Revocation,
  rulesFor,
} from './index.ts';

const subject = {
  principal: 'spiffe://csc.local/client/alice',
  keyId: 'alice-1',
  executorId: 'build-1',
  executionId: 'e-1',
  submissionSha256: 'a'.repeat(64),
  submissionNonce: 'd'.repeat(32),
  profile: 'build',
  issuer: 'https://token.example',
};

const entry = (kind: Revocation['kind'], id: string): Revocation => ({
  kind,
  id,
  since: '2026-11-27T12:00:00Z',
  reason: 'lost',
  running: 'end',
});

describe('revocations', () => {
  it.each([
    ['principal', subject.principal],
    ['key', subject.keyId],
    ['host', subject.executorId],
    ['execution', subject.executionId],
    ['submission', subject.submissionSha256],
    ['submission', subject.submissionNonce],
    ['profile', subject.profile],
    ['issuer', subject.issuer],
  ] as const)('meet whoever they are about: a %s', (kind, id) => {
    expect(createRevocations([entry(kind, id)]).find(subject)).toMatchObject({ kind, id });
    expect(createRevocations([entry(kind, 'another')]).find(subject)).toBeUndefined();
  });

  it('do not meet a namesake of another kind', () => {
    expect(createRevocations([entry('profile', 'build-1')]).find(subject)).toBeUndefined();
  });

  it('give key rings the keys', () => {
    const { revokedKeys } = createRevocations([entry('key', 'alice-1'), entry('host', 'h')]);
    expect([...revokedKeys()]).toEqual([['alice-1', new Date('2026-11-27T12:00:00Z')]]);
  });

  it('mean a key by what it is, whatever it is called', () => {
    const key = (keyId: string, fill: number) => ({ keyId, publicKey: new Uint8Array(32).fill(fill) });
    const named = [key('alice-1', 1), key('laptop', 1), key('bob-1', 2)];
    const base64 = Buffer.alloc(32, 1).toString('base64');
    for (const id of ['alice-1', 'laptop', base64]) {
      const revocations = createRevocations([entry('key', id)], named);
      for (const keyId of ['alice-1', 'laptop'])
        expect(revocations.find({ ...subject, keyId })).toMatchObject({ kind: 'key', id });
      expect(revocations.find({ ...subject, keyId: 'bob-1' })).toBeUndefined();
      expect(new Set(revocations.revokedKeys().keys())).toEqual(new Set([id, 'alice-1', 'laptop']));
    }
  });

  it('are read with all their faults', () => {
    const text = 'revoked_version: csc.revoked.v0.1\nrevoked:\n  - {kind: all, id: "", since: soon}\n';
    const read = parseRevoked(Buffer.from(text));
    const paths = read.ok ? [] : read.faults.map(({ path }) => path);
    expect(paths).toEqual(['revoked[0].kind', 'revoked[0].id', 'revoked[0].since', 'revoked[0].reason']);
  });
});

describe('a freeze', () => {
  it.each([
    ['freeze_version: csc.freeze.v0.1\n', undefined],
    [
      'freeze_version: csc.freeze.v0.1\nfrozen: {since: "2026-11-27T12:00:00Z", reason: key lost, running: end}\n',
      { since: '2026-11-27T12:00:00Z', reason: 'key lost', running: 'end' },
    ],
  ])('is there or is not: %s', (text, frozen) => {
    expect(parseFreeze(Buffer.from(text))).toEqual({
      ok: true,
      value: { freeze_version: 'csc.freeze.v0.1', ...(frozen === undefined ? {} : { frozen }) },
    });
  });
});

describe('hosts.yaml', () => {
  const text = `hosts_version: csc.hosts.v0.1
hosts:
  - labels: {}
    network: allowlisted
  - labels: {tier: deploy}
    policies: [deploy]
    secrets: [TOKEN]
`;

  it('bounds a host by every rule whose labels it has', () => {
    const read = parseHosts(Buffer.from(text));
    if (!read.ok) throw new Error(JSON.stringify(read.faults));
    const networks = (labels: Record<string, string>) =>
      rulesFor(read.value.hosts, labels).map((it) => it.network);
    expect(networks({ tier: 'deploy', os: 'debian' })).toEqual(['allowlisted', 'deny']);
    expect(networks({ tier: 'build' })).toEqual(['allowlisted']);
  });
});

describe('log.yaml', () => {
  const key = (name: string, type: 'ed25519' | 'cosignature', fill: number) =>
    formatVkey({ name, type, publicKey: Buffer.alloc(32, fill) });
  const [log, w1, w2] = [key('log', 'ed25519', 1), key('w1', 'cosignature', 2), key('w2', 'cosignature', 3)];
  const read = (said: object) =>
    parseLog(Buffer.from(JSON.stringify({ log_version: 'csc.log.v0.1', vkey: log, ...said })));

  it('names a log, and demands all of its witnesses unless it says how many', () => {
    expect(read({})).toEqual({ ok: true, value: { vkey: log, witnessVkeys: [], quorum: 0 } });
    expect(read({ witnesses: [w1, w2] })).toMatchObject({ value: { quorum: 2 } });
    expect(read({ witnesses: [w1, w2], quorum: 1 })).toMatchObject({ value: { quorum: 1 } });
  });

  it.each([
    ['a key of the other kind', { vkey: w1 }, /is that of a witness/],
    ['a log as a witness', { witnesses: [log] }, /is that of a log/],
    [
      'more witnesses than it names',
      { witnesses: [w1], quorum: 2 },
      /2 witnesses are demanded, and 1 are named/,
    ],
    ['one key under two names', { witnesses: [w1, key('w3', 'cosignature', 2)] }, /each counts once/],
    ['what is no key', { vkey: 'gate' }, /is no vkey/],
  ])('is refused with %s', (_, said, message) => {
    const read_ = read(said);
    expect(read_.ok ? '' : JSON.stringify(read_.faults)).toMatch(message);
  });
});
