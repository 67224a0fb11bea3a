import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ArmoredSignature, parseArmoredSignature } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { makeTemporaryDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { plainLine } from '../terminal/text.ts';

/** Where OpenSSH is to find the private half. */
export type SshKey =
  /** A private key file, of a security key too: ssh-keygen asks for its passphrase, its PIN and its touch. */
  | { readonly file: string }
  /** A key of the agent, by its line as ssh-add -L shows it. */
  | { readonly agentLine: string };

/** How OpenSSH is called. */
export interface SshPorts {
  /** Milliseconds that a person has for a passphrase and a touch. Absent: two minutes. */
  readonly answerMs?: number;
  /** Absent: this process's. */
  readonly env?: NodeJS.ProcessEnv;
}

const defaultAnswerMs = 120_000;
const maxSignatureBytes = 8192;
// An agent's list, and what OpenSSH says of its troubles.
const maxTextBytes = 64 * 1024;

/**
 * Has OpenSSH sign this text (ssh-keygen(1), -Y sign), which knows passphrases, agents, security keys and their touch; no
 * private key is read here. The signature is read, and not verified. Rejects with CONFIG_INVALID (no ssh-keygen, no agent, no
 * such key, nobody answered) and KEY_INVALID.
 */
export async function signBySshKeygen(
  key: SshKey,
  namespace: string,
  message: Uint8Array,
  ports: SshPorts = {},
): Promise<ArmoredSignature> {
  const directory = makeTemporaryDirectory('csc-sign-');
  try {
    const text = join(directory, 'text');
    writeFileSync(text, message, { mode: 0o600 });
    const named = 'file' in key ? ['-f', key.file] : ['-U', '-f', join(directory, 'key.pub')];
    if ('agentLine' in key) writeFileSync(join(directory, 'key.pub'), `${key.agentLine}\n`, { mode: 0o600 });
    const ended = await run('ssh-keygen', ['-q', '-Y', 'sign', '-n', namespace, ...named, text], ports);
    if (ended.code !== 0) throw noSignature(key, ended.said);
    const { bytes } = readBoundedFile(`${text}.sig`, { maxBytes: maxSignatureBytes });
    const made = orThrow(
      parseArmoredSignature(Buffer.from(bytes).toString('latin1')),
      'KEY_INVALID',
      'the signature of ssh-keygen',
    );
    if (made.namespace === namespace) return made;
    throw new CscError('KEY_INVALID', `ssh-keygen has signed for another namespace than ${namespace}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * The lines of the keys that the SSH agent holds, of whatever kind. Rejects with CONFIG_INVALID where there is no agent, or no
 * ssh-add.
 */
export async function listAgentKeys(ports: SshPorts = {}): Promise<string[]> {
  const { env = process.env } = ports;
  if ((env['SSH_AUTH_SOCK'] ?? '') === '')
    throw configInvalid(
      'there is no SSH agent: SSH_AUTH_SOCK is not set (start one: ssh-agent(1), and ssh-add)',
    );
  const { code, said, out } = await run('ssh-add', ['-L'], ports);
  // ssh-add(1): 1 where it has none, 2 where it cannot be asked.
  if (code === 1) return [];
  if (code === 0) return out.split('\n').filter((line) => line !== '');
  throw configInvalid(
    `the SSH agent at ${env['SSH_AUTH_SOCK']} is of no use: ${said || 'it does not answer'}`,
  );
}

function noSignature(key: SshKey, said: string): CscError {
  const why = said === '' ? 'ssh-keygen did not say why' : said;
  if (/incorrect passphrase/i.test(said)) return configInvalid(`the passphrase was not the key's: ${why}`);
  if ('agentLine' in key) {
    if (/find key in agent/i.test(said))
      return configInvalid(`the SSH agent does not have this key (any more): ${why}`);
    return configInvalid(
      `the SSH agent would not sign: is it locked, or was it declined or not touched in time? ${why}`,
    );
  }
  return configInvalid(`ssh-keygen would not sign with ${key.file}: ${why}`);
}

interface Ended {
  readonly code: number;
  /** The last line of its stderr, safe to show. */
  readonly said: string;
  readonly out: string;
}

/**
 * Runs it on our own terminal, where it asks; what it says is passed on line by line. Rejects with CONFIG_INVALID where it is
 * not there, or took too long.
 */
async function run(program: string, args: readonly string[], ports: SshPorts): Promise<Ended> {
  const { env = process.env, answerMs = defaultAnswerMs } = ports;
  const child = spawn(program, args, {
    env,
    stdio: ['inherit', 'pipe', 'pipe'],
    timeout: answerMs,
    killSignal: 'SIGKILL',
  });
  const [out, err] = [gather(child.stdout), gather(child.stderr)];
  const code = await new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', (cause) => reject(cannotStart(program, cause)));
    child.once('close', (status, signal) => resolve(status ?? signal ?? 'SIGKILL'));
  });
  const lines = err()
    .split(/[\r\n]+/)
    .map(plainLine)
    .filter((line) => line !== '');
  if (typeof code === 'number') return { code, said: lines.at(-1) ?? '', out: out() };
  throw configInvalid(
    `${program} was ended after ${answerMs / 1000} s (${code}): nobody typed the passphrase, or touched the security key`,
  );
}

function cannotStart(program: string, cause: Error): CscError {
  const missing = 'code' in cause && cause.code === 'ENOENT';
  const why = missing ? 'is not installed (OpenSSH brings it)' : `cannot be started: ${cause.message}`;
  return new CscError('CONFIG_INVALID', `${program} ${why}`, { cause });
}

function gather(stream: ChildProcess['stdout']): () => string {
  let text = '';
  stream?.on('data', (chunk: Buffer) => {
    if (text.length < maxTextBytes) text += chunk.toString('utf8');
  });
  return () => text;
}

function configInvalid(message: string): CscError {
  return new CscError('CONFIG_INVALID', message);
}
