import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DemoCommand, demoContract } from './material.ts';
import { approved, denied, needsApproval, usedUp } from './rule-scenes.ts';
import { exits, type Scene, sha256Of, submission } from './scene.ts';
import type { Stage, StageKey } from './stage.ts';

/** The demo from its first scene to its last; later scenes use what earlier ones have left. */
export function demoScenes(stage: Stage, mode: 'hardened' | 'local'): Scene[] {
  return [
    allowed(stage),
    pipeline(stage),
    build(stage),
    ...(mode === 'hardened' ? [walledIn(stage)] : []),
    denied(stage),
    needsApproval(stage),
    approved(stage),
    usedUp(),
    verified(
      stage,
      'build',
      stage.hostKey,
      'The receipt of the build verifies with the host’s public key alone.',
    ),
    verified(stage, 'denied', stage.gateKey, 'A refusal is on record as well, signed by the gate.'),
    forged(stage),
  ];
}

function allowed(stage: Stage): Scene {
  const exec = { argv: ['cat', 'README.md'] };
  return submission(stage, {
    name: 'read',
    title: 'A command that the policy allows',
    contract: demoContract(stage.workspace, 'Read what the program is', { id: 'read', exec }),
    proves: 'Decided by policy, placed on a host, run in a sandbox; its output came back byte for byte.',
    expect: (result, receipt) => [
      exits(result, 0),
      {
        what: 'stdout is the file',
        met: result.stdout === readFileSync(join(stage.workspace, 'README.md'), 'utf8'),
      },
      { what: 'the receipt says success', met: receipt().status === 'success' },
    ],
  });
}

function pipeline(stage: Stage): Scene {
  const argvs = [
    ['grep', '-rh', 'TODO', '.'],
    ['wc', '-l'],
  ];
  const command = { id: 'count', pipeline: { segments: argvs.map((argv) => ({ argv })) } };
  return submission(stage, {
    name: 'pipeline',
    title: 'A pipeline, without a shell',
    contract: demoContract(stage.workspace, 'Count what is left to do', command),
    proves:
      'Two programs joined by a pipe of the system. No shell ran, so nothing could be slipped into one.',
    expect: (result) => [
      exits(result, 0),
      { what: 'two lines were found', met: result.stdout.trim() === '2' },
    ],
  });
}

function build(stage: Stage): Scene {
  const artifact = join(stage.workspace, 'out/src.tar');
  const command: DemoCommand = {
    id: 'pack',
    exec: { argv: ['tar', '-cf', 'out/src.tar', 'src'] },
    write_paths: [`${stage.workspace}/out`],
    proposed_effect_type: 'transform_local',
  };
  return submission(stage, {
    name: 'build',
    title: 'A build that writes an artifact',
    contract: demoContract(stage.workspace, 'Pack the sources', command, { expected_outputs: [artifact] }),
    proves: 'The receipt has the hash of the very file that was built: whoever gets the file can check it.',
    expect: (result, receipt) => [
      exits(result, 0),
      {
        what: 'the receipt’s hash is the artifact’s',
        met:
          receipt()
            .artifacts?.find(({ path }) => path === artifact)
            ?.sha256.endsWith(sha256Of(artifact)) === true,
      },
    ],
  });
}

function walledIn(stage: Stage): Scene {
  const exec = { argv: ['cat', join(stage.directory, 'demo-host.key')] };
  return submission(stage, {
    name: 'snoop',
    title: 'An allowed command that reaches for the host’s signing key',
    contract: demoContract(stage.workspace, 'Read a file that was not declared', { id: 'snoop', exec }),
    proves:
      'A policy cannot see what an argument means; the sandbox need not. What was not declared is not there.',
    expect: (result, receipt) => [
      exits(result, 1),
      { what: 'nothing of the key came out', met: !result.stdout.includes('PRIVATE') },
      { what: 'the receipt says failed', met: receipt().status === 'failed' },
      { what: 'the receipt names the sandbox', met: receipt().sandbox?.mechanism === 'bubblewrap' },
    ],
  });
}

function verified(stage: Stage, name: string, key: StageKey, proves: string): Scene {
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

function forged(stage: Stage): Scene {
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
