import { join } from 'node:path';
import { testLauncher } from '@csc-fleet/test-kit/sandbox/launcher-contract';
import { makeTree } from '@csc-fleet/test-kit/sandbox/plan';
import { codesOf, finish } from '@csc-fleet/test-kit/sandbox/runner';
import { describe, expect, it } from 'vitest';
import { createLocalLauncher } from './local-launcher.ts';

const environment = { PATH: '/usr/bin:/bin' };

testLauncher('the local launcher', async () => {
  const tree = makeTree();
  const launcher = createLocalLauncher();
  return {
    launcher,
    place: () => ({ kind: 'local', cwd: tree.path, environment, umask: 0o022 }),
    close() {
      launcher.close();
      tree.remove();
    },
  };
});

describe('the local launcher', () => {
  it('gives the environment that it is told and no other', async () => {
    const launcher = createLocalLauncher();
    const place = { kind: 'local', cwd: '/', environment: { A: '1' }, umask: 0o022 } as const;
    const { stdout } = await finish(
      launcher.launch({ segments: [{ argv: ['/usr/bin/env'] }], place, hold: false }),
    );
    expect(stdout).toBe('A=1\n');
    launcher.close();
  });

  it('says of a cwd that is missing that the command cannot be run', async () => {
    const launcher = createLocalLauncher();
    const place = { kind: 'local', cwd: '/proc/none', environment, umask: 0o022 } as const;
    const { outcome } = await finish(launcher.launch({ segments: [{ argv: ['true'] }], place, hold: false }));
    expect(outcome).toMatchObject({ kind: 'not_started', code: 126 });
    launcher.close();
  });

  it('ends what is left in the process group', async () => {
    const tree = makeTree();
    const launcher = createLocalLauncher();
    const script = `(sleep 0.3; echo late > ${join(tree.path, 'late')}) & echo done`;
    const place = { kind: 'local', cwd: tree.path, environment, umask: 0o022 } as const;
    const run = await finish(
      launcher.launch({ segments: [{ argv: ['sh', '-c', script] }], place, hold: false }),
    );
    expect([run.stdout, codesOf(run.outcome)]).toEqual(['done\n', [0]]);
    const after = { segments: [{ argv: ['sh', '-c', 'sleep 0.6; ls'] }], place, hold: false };
    expect((await finish(launcher.launch(after))).stdout).toBe('');
    launcher.close();
    tree.remove();
  });

  it('takes no sandbox', () => {
    const launcher = createLocalLauncher();
    const place = { kind: 'sandbox' } as never;
    expect(() => launcher.launch({ segments: [{ argv: ['true'] }], place, hold: false })).toThrow(TypeError);
    launcher.close();
  });
});
