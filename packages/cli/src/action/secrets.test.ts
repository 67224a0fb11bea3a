import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { connect } from '@csc-fleet/client';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import type { Command, Option } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../program.ts';

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ed25519 = generateKeyPairSync('ed25519').privateKey;
const toPem = (key: typeof rsa) => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Keys as they are pasted: whole, on one line, without the frame, a raw seed, the first lines alone. */
const pasted: readonly string[] = [
  toPem(ed25519),
  toPem(p256),
  toPem(rsa),
  toPem(ed25519).replaceAll('\n', ' '),
  toPem(ed25519).replaceAll('\n', '\\n'),
  toPem(ed25519).split('\n')[1] ?? '',
  Buffer.from(ed25519.export({ format: 'jwk' }).d ?? '', 'base64url').toString('base64'),
  toPem(rsa).split('\n').slice(0, 9).join('\n'),
];

// For what costs a command line each.
const few = [toPem(p256), pasted[5] ?? ''];

// Any sixteen characters of a key in a row are too much.
function leaks(output: string, secret: string): boolean {
  const lines = secret.split(/\s|\\n|-----[A-Z ]+-----/).filter((line) => line.length >= 16);
  const parts = lines.flatMap((line) => [line.slice(0, 16), line.slice(-16)]);
  return parts.some((part) => output.includes(part));
}

const services = ['gate', 'executor'];
const commands = [
  ...['check', 'run', 'verify-receipt', 'submit', 'get', 'list', 'cancel', 'validate', 'schema'],
  ...['keygen', 'pki', ...services],
];

/** Every command line that has a secret in the place of one option's value, or of one argument. */
async function commandLines(secret: string, filler: Readonly<Record<string, string>>): Promise<string[][]> {
  const lines: string[][] = [];
  for (const name of commands) {
    const top = (await buildProgram([name])).commands.find((it) => it.name() === name);
    if (top === undefined) throw new Error(`there is no ${name}`);
    for (const command of [top, ...top.commands]) lines.push(...linesOf(top, command, secret, filler));
  }
  return lines;
}

function linesOf(top: Command, command: Command, secret: string, filler: Readonly<Record<string, string>>) {
  const path = command === top ? [top.name()] : [top.name(), command.name()];
  const args = command.registeredArguments.map((it) => filler[it.name()] ?? it.argChoices?.[0] ?? 'x');
  const takes = command.options.filter((it) => it.required || it.optional);
  const needed = takes.filter(
    (it) => it.mandatory || ['--gate', '--pki', '--as', '--wait'].includes(it.long ?? ''),
  );
  const fill = (leftOut?: Option) =>
    needed.filter((it) => it !== leftOut).flatMap((it) => [it.long ?? '', filler[it.long ?? ''] ?? 'x']);
  return [
    ...takes.map((option) => [...path, ...args, ...fill(option), option.long ?? '', secret]),
    ...args.map((_, index) => [...path, ...args.with(index, secret), ...fill()]),
    [...path, ...args, ...fill(), secret],
    [...path, secret],
    [...path, `--${secret}`],
  ];
}

async function runMany(lines: readonly string[][], cwd: string): Promise<string> {
  const script = fileURLToPath(new URL('../../../../tests/kit/cli/run-many.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { cwd, env: { ...process.env, XDG_STATE_HOME: cwd } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      output += data.toString();
    });
  }
  child.stdin.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  await once(child, 'close');
  return output;
}

describe('a key that is given where its path is due', () => {
  it('is in no output of any command, whichever option or argument it was', async () => {
    const scratch = createScratch();
    const pki = join(scratch.directory, 'pki');
    await createDevelopmentPki(pki, { clients: ['alice'] });
    const filler = {
      contract: scratch.write('contract.json', sampleContract()),
      policy: scratch.write('policy.yaml', samplePolicy()),
      '--gate': '127.0.0.1:1',
      '--wait': '0',
      '--pki': pki,
      '--as': 'alice',
      dir: 'made',
    };
    const lines = (await Promise.all(few.map((secret) => commandLines(secret, filler)))).flat();
    expect(lines.length).toBeGreaterThan(150);
    const output = await runMany(lines, scratch.directory);
    expect(output.split('not shown').length).toBeGreaterThan(80);
    expect(few.filter((secret) => leaks(output, secret))).toEqual([]);
  });

  it('is in no fault of a config, at any member', async () => {
    const scratch = createScratch();
    const files = [
      'trusted_gate_keys',
      'policies',
      'state_dir',
      'signing_key',
      'seccomp_profile',
      'data_dir',
      'bindings',
    ];
    const lines = few.flatMap((secret, index) => {
      const whole = (members: object) => ({
        gate: { address: '127.0.0.1:1' },
        tls: { ca: 'ca', cert: 'cert', key: 'key' },
        policies: 'p',
        trusted_gate_keys: 'k',
        state_dir: 's',
        ...members,
      });
      const configs: (object | string)[] = [
        ...files.map((member) => whole({ [member]: secret })),
        ...['ca', 'cert', 'key'].map((member) =>
          whole({ tls: { ca: 'x', cert: 'x', key: 'x', [member]: secret } }),
        ),
        { listen: 'x', data_dir: 'd', policies: secret, bindings: 'b' },
        {
          listen: 'x',
          data_dir: 'd',
          policies: 'p',
          bindings: 'b',
          tls: { ca: 'x', cert: 'x', key: secret },
        },
        whole({ [secret]: 1 }),
        whole({ execution_mode: secret, run_as: secret, env: { [secret]: secret } }),
        `state_dir: ${secret}\ntls: {\n`,
        `${secret}`,
        `key: |\n${secret}\n  x: - y`,
        `? ${secret} : [`,
        `"${secret}`,
      ];
      return configs.flatMap((config, number) => {
        const file = scratch.write(`${index}-${number}.yaml`, config);
        const client = ['list', '--config', file];
        return [...services.map((it) => [it, '--config', file, '--check-config']), client];
      });
    });
    const output = await runMany(lines, scratch.directory);
    expect(few.filter((secret) => leaks(output, secret))).toEqual([]);
  });

  it('is in no error of the stub, nor in what is underneath it', async () => {
    const scratch = createScratch();
    const pki = join(scratch.directory, 'pki');
    await createDevelopmentPki(pki, { clients: ['alice'] });
    const tls = {
      ca: join(pki, 'ca.pem'),
      cert: join(pki, 'client-alice.pem'),
      key: join(pki, 'client-alice.key'),
    };
    for (const secret of pasted) {
      const tries = [
        ...Object.keys(tls).map((member) => ({ address: '127.0.0.1:1', tls: { ...tls, [member]: secret } })),
        { address: secret, tls },
      ];
      for (const options of tries) {
        const error: unknown = await attempt(options).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(Error);
        expect(leaks(inspect(error, { depth: 9 }), secret)).toBe(false);
      }
    }
  });
});

async function attempt(options: Parameters<typeof connect>[0]): Promise<unknown> {
  using client = connect(options);
  return await client.run(sampleContract());
}
