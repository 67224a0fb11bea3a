import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findSignatureFault, parseArmoredSignature, toBase64, toBeSigned } from '@csc-fleet/common/crypto';
import { makeSshKey, startSshAgent, startTokenAgent } from '@csc-fleet/test-kit/cli/ssh-agent';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openApproverKey } from './approver-key.ts';
import { listAgentKeys, type SshKey, type SshPorts, signBySshKeygen } from './ssh-keygen.ts';

const namespace = 'csc.approval.v0.2';
const text = Buffer.from('{"approval_version":"csc.approval.v0.2"}');

/** Signs, and holds the signature against the key that made it. */
async function signAndVerify(key: SshKey, ports: SshPorts, touch = true) {
  const { key: made, algorithm, signature, fingerprint } = await signBySshKeygen(key, namespace, text, ports);
  const message = toBeSigned(algorithm, namespace, text);
  return {
    algorithm,
    fingerprint,
    fault: findSignatureFault(message, { algorithm, signature: toBase64(signature) }, made, touch),
  };
}

describe('signatures of OpenSSH', () => {
  it('a key file signs, and one with a passphrase only for who knows it', async () => {
    const { directory } = createScratch();
    const file = makeSshKey(directory, 'plain');
    expect(await signAndVerify({ file }, {})).toMatchObject({
      algorithm: 'sshsig-ed25519',
      fault: undefined,
    });
    const locked = makeSshKey(directory, 'locked', 'a passphrase');
    const types = (answer: string): SshPorts => {
      const SSH_ASKPASS = join(directory, 'askpass');
      writeFileSync(SSH_ASKPASS, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o700 });
      return { env: { PATH: process.env['PATH'], SSH_ASKPASS, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: ':0' } };
    };
    expect(await signAndVerify({ file: locked }, types('a passphrase'))).toMatchObject({ fault: undefined });
    await expect(signBySshKeygen({ file: locked }, namespace, text, types('another'))).rejects.toThrow(
      /passphrase/,
    );
    await expect(signBySshKeygen({ file: join(directory, 'none') }, namespace, text)).rejects.toThrow(
      /would not sign with .*none: .*No such file/,
    );
  });

  it('a key of the agent signs, which no file here holds; and one that it has no more is said to be gone', async () => {
    const { directory } = createScratch();
    await using agent = await startSshAgent(directory);
    const env = { ...process.env, ...agent.env };
    expect(await listAgentKeys({ env })).toEqual([]);
    const file = makeSshKey(directory, 'held');
    execFileSync('ssh-add', ['-q', file], { env });
    rmSync(file);
    const [agentLine = ''] = await listAgentKeys({ env });
    const named = await openApproverKey('agent', { env });
    expect(agentLine).toContain(named.publicLine);
    expect(await signAndVerify({ agentLine }, { env })).toMatchObject({ fault: undefined });
    execFileSync('ssh-add', ['-q', '-D'], { env });
    await expect(signBySshKeygen({ agentLine }, namespace, text, { env })).rejects.toThrow(
      /does not have this key/,
    );
  });

  it('a security key signs with its touch, and one that nobody touched does not count', async () => {
    const { directory } = createScratch();
    const wish: { flags: number; touch: 'given' | 'refuse' } = { flags: 1, touch: 'given' };
    await using agent = await startTokenAgent(directory, wish);
    const env = { ...process.env, ...agent.env };
    const [agentLine = ''] = await listAgentKeys({ env });
    expect(agentLine).toBe(agent.line);
    const signed = await signAndVerify({ agentLine }, { env });
    expect(signed).toMatchObject({ algorithm: 'sshsig-sk-ed25519', fault: undefined });
    wish.flags = 0;
    expect((await signAndVerify({ agentLine }, { env })).fault).toMatch(/nobody touched/);
    expect((await signAndVerify({ agentLine }, { env }, false)).fault).toBeUndefined();
    wish.touch = 'refuse';
    await expect(signBySshKeygen({ agentLine }, namespace, text, { env })).rejects.toThrow(
      /would not sign: is it locked, .* not touched in time/,
    );
  });

  it('says what is missing: ssh-keygen, the agent, the person', async () => {
    const { directory } = createScratch();
    const file = makeSshKey(directory, 'asked');
    const env = { PATH: directory };
    await expect(signBySshKeygen({ file }, namespace, text, { env })).rejects.toThrow(
      'ssh-keygen is not installed (OpenSSH brings it)',
    );
    await expect(listAgentKeys({ env: {} })).rejects.toThrow('SSH_AUTH_SOCK is not set');
    const gone = { ...process.env, SSH_AUTH_SOCK: join(directory, 'gone.sock') };
    await expect(listAgentKeys({ env: gone })).rejects.toThrow(/gone\.sock is of no use/);
    writeFileSync(join(directory, 'ssh-keygen'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o700 });
    const slow = { env: { PATH: `${directory}:${process.env['PATH']}` }, answerMs: 50 };
    await expect(signBySshKeygen({ file }, namespace, text, slow)).rejects.toThrow(
      /ended after 0.05 s .* touched the security key/,
    );
    const lies = '#!/bin/sh\nfor last; do :; done; echo nonsense > "$last.sig"\n';
    writeFileSync(join(directory, 'ssh-keygen'), lies, { mode: 0o700 });
    await expect(signBySshKeygen({ file }, namespace, text, { env: slow.env })).rejects.toThrow(
      /is not what ssh-keygen -Y sign writes/,
    );
    rmSync(join(directory, 'ssh-keygen'));
  });

  it('an armored signature is read strictly: with any of its bytes changed it is none, or another one', async () => {
    const { directory } = createScratch();
    const file = makeSshKey(directory, 'strict');
    writeFileSync(join(directory, 'message'), text);
    execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', namespace, '-f', file, join(directory, 'message')]);
    const armored = readFileSync(join(directory, 'message.sig'), 'latin1');
    const whole = parseArmoredSignature(armored);
    expect(whole).toMatchObject({ ok: true, value: { namespace, algorithm: 'sshsig-ed25519' } });
    const lines = armored.split('\n');
    const blob = Buffer.from(lines.slice(1, -2).join(''), 'base64');
    const armor = (bytes: Uint8Array): string => [lines[0], toBase64(bytes), ...lines.slice(-2)].join('\n');
    expect(parseArmoredSignature(armor(blob))).toEqual(whole);
    const untidy = [
      ` ${armored}`,
      `${armored}\nmore`,
      armored.replaceAll('\n', '\r\n'),
      'x'.repeat(9000),
      '',
    ];
    for (const other of untidy) expect(parseArmoredSignature(other).ok, other).toBe(false);
    fc.assert(
      fc.property(
        fc.nat(blob.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, flip, cut) => {
          const changed = Buffer.from(blob);
          changed[at] = (changed[at] ?? 0) ^ flip;
          const read = parseArmoredSignature(armor(cut ? changed.subarray(0, at) : changed));
          expect(read).not.toEqual(whole);
          if (cut) expect(read.ok).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });
});
