import { execFileSync, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { sshString } from '@csc-fleet/common/crypto';

/** An agent of OpenSSH, or one of our own, with its socket. */
export interface Agent extends AsyncDisposable {
  readonly env: { readonly SSH_AUTH_SOCK: string };
}

/** Starts a real ssh-agent, which is ended by its pid. */
export async function startSshAgent(directory: string): Promise<Agent> {
  const socket = join(directory, 'agent.sock');
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(agent.stdout, 'data');
  return {
    env: { SSH_AUTH_SOCK: socket },
    [Symbol.asyncDispose]: async () => {
      agent.kill();
      if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
    },
  };
}

/** Makes a key of OpenSSH, and gives the path of its private half. */
export function makeSshKey(directory: string, name: string, passphrase = ''): string {
  const file = join(directory, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', name, '-f', file]);
  return file;
}

/** What a security key of ours is to do. */
export interface TokenWish {
  /** Bit 0: somebody has touched it. */
  readonly flags: number;
  /** `refuse`: nobody touches it, and the agent says so. */
  readonly touch: 'given' | 'refuse';
}

/**
 * An agent (draft-ietf-sshm-ssh-agent) that holds one security key, which is none: it signs in software what PROTOCOL.u2f of
 * OpenSSH has such a key sign. `wish` may change meanwhile.
 */
export async function startTokenAgent(
  directory: string,
  wish: TokenWish,
): Promise<Agent & { readonly line: string }> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const type = 'sk-ssh-ed25519@openssh.com';
  const blob = Buffer.concat([type, raw, 'ssh:'].map((it) => sshString(Buffer.from(it))));
  const sha256 = (bytes: string | Buffer): Buffer => createHash('sha256').update(bytes).digest();
  let counter = 0;
  const answerTo = (question: Buffer): Buffer => {
    if (question[0] === 11)
      return Buffer.concat([Buffer.from([12, 0, 0, 0, 1]), sshString(blob), sshString(Buffer.from('token'))]);
    if (question[0] !== 13 || wish.touch === 'refuse') return Buffer.from([5]);
    const at = 5 + question.readUInt32BE(1);
    const message = question.subarray(at + 4, at + 4 + question.readUInt32BE(at));
    const said = Buffer.alloc(5);
    said.writeUInt8(wish.flags);
    said.writeUInt32BE(++counter, 1);
    const made = sign(null, Buffer.concat([sha256('ssh:'), said, sha256(message)]), privateKey);
    const signature = Buffer.concat([sshString(Buffer.from(type)), sshString(made), said]);
    return Buffer.concat([Buffer.from([14]), sshString(signature)]);
  };
  const server = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
        const end = 4 + bytes.readUInt32BE(0);
        socket.write(sshString(answerTo(bytes.subarray(4, end))));
        bytes = bytes.subarray(end);
      }
    });
  });
  const socket = join(directory, 'token.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    env: { SSH_AUTH_SOCK: socket },
    line: `${type} ${blob.toString('base64')} token`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
