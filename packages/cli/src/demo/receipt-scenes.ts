import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exits, type Scene } from './scene.ts';
import type { Stage, StageKey } from './stage.ts';

export function verified(stage: Stage, name: string, key: StageKey, proves: string): Scene {
  return {
    title: `The receipt of “${name}”, checked without the gate`,
    args: verifyArgs(stage, `${name}-receipt.json`, key),
    proves,
    expect: (result) => [exits(result, 0), { what: 'it says VALID', met: result.stdout.startsWith('VALID') }],
  };
}

function verifyArgs(stage: Stage, receipt: string, { publicKeyFile, keyId }: StageKey): string[] {
  const file = publicKeyFile.slice(stage.directory.length + 1);
  return ['verify-receipt', receipt, '--public-key', file, '--key-id', keyId];
}

export function forged(stage: Stage): Scene {
  const original = join(stage.directory, 'snoop-receipt.json');
  return {
    title: 'A receipt that somebody has changed',
    args: verifyArgs(stage, 'forged.json', stage.hostKey),
    prepare: () => {
      const text = readText(original) ?? readText(join(stage.directory, 'build-receipt.json')) ?? '{}';
      stage.write(
        'forged.json',
        text.replace(/"exit_code": (\d)/, (_, code) => `"exit_code": ${Number(code) + 1}`),
      );
    },
    proves: 'One digit is another one, and the signature no longer fits.',
    expect: (result) => [
      exits(result, 1),
      { what: 'it says INVALID', met: result.stdout.startsWith('INVALID') },
    ],
  };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
