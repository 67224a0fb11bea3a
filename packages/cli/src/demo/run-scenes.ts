import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DemoCommand, demoContract } from './contracts.ts';
import { exits, type Scene, sha256Of, submission } from './scene.ts';
import type { Stage } from './stage.ts';

export function allowed(stage: Stage): Scene {
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

export function pipeline(stage: Stage): Scene {
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

export function build(stage: Stage): Scene {
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

export function walledIn(stage: Stage): Scene {
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
