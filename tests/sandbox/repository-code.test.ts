import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Guest } from '@csc-fleet/test-kit/fleet';
import { visitFleet } from '@csc-fleet/test-kit/shared-fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Repositories whose own configuration names a program, looked at under the profile `inspect` as it is shipped.

const ran = 'CODE-RAN';

let fleet: Guest;
beforeAll(async () => {
  fleet = await visitFleet('inspect');
}, 60_000);
afterAll(() => fleet?.[Symbol.asyncDispose]());

/** A repository with one commit and a change, and beside its files a program that says that it ran. */
function repository(name: string): { directory: string; trap: string; git(...argv: string[]): void } {
  const directory = join(fleet.workspace, name);
  const trap = join(directory, 'trap');
  mkdirSync(directory);
  writeFileSync(trap, `#!/bin/sh\necho ${ran} >&2\nexit 1\n`, { mode: 0o755 });
  const git = (...argv: string[]) => {
    const env = Object.fromEntries(
      ['AUTHOR_NAME', 'AUTHOR_EMAIL', 'COMMITTER_NAME', 'COMMITTER_EMAIL'].map((it) => [`GIT_${it}`, 'a']),
    );
    execFileSync('git', argv, {
      cwd: directory,
      env: { PATH: process.env['PATH'], HOME: '/nonexistent', ...env },
    });
  };
  git('init', '-q', '-b', 'main');
  writeFileSync(join(directory, 'f'), 'one\n');
  git('add', 'f');
  git('commit', '-qm', 'one');
  writeFileSync(join(directory, 'f'), 'two\n');
  return { directory, trap, git };
}

interface Trap {
  readonly name: string;
  readonly argv: readonly string[];
  /** What makes the trap go off on the host, where argv alone would not. */
  readonly bait?: readonly string[];
  /** Sets it; gives the directory to work in where that is not the repository. */
  set(made: ReturnType<typeof repository>): string | undefined;
}

function config(entries: (trap: string) => Record<string, string>): Trap['set'] {
  return ({ trap, git }) => {
    for (const [key, value] of Object.entries(entries(trap))) git('config', key, value);
    return undefined;
  };
}

/** The blob of the commit is missing, and is to be had from where the configuration says. */
function promise(entries: (trap: string) => Record<string, string>): Trap['set'] {
  return (made) => {
    const { directory, git } = made;
    const blob = execFileSync('git', ['rev-parse', 'HEAD:f'], { cwd: directory }).toString().trim();
    rmSync(join(directory, '.git/objects', blob.slice(0, 2), blob.slice(2)));
    git('config', 'core.repositoryFormatVersion', '1');
    git('config', 'extensions.partialClone', 'origin');
    return config((trap) => ({ 'remote.origin.promisor': 'true', ...entries(trap) }))(made);
  };
}

const driver: Trap['set'] = (made) => {
  writeFileSync(join(made.directory, '.gitattributes'), 'f diff=x\n');
  return config((trap) => ({ 'diff.x.textconv': trap, 'diff.x.command': trap }))(made);
};

const traps: readonly Trap[] = [
  { name: 'fsmonitor', argv: ['git', 'status'], set: config((trap) => ({ 'core.fsmonitor': trap })) },
  {
    name: 'signature',
    argv: ['git', 'log'],
    set: (made) => {
      // A signature that says nothing; what matters is who is asked about it.
      const signed = execFileSync('git', ['cat-file', 'commit', 'HEAD'], { cwd: made.directory })
        .toString()
        .replace('\n\n', '\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n');
      const file = join(made.directory, '.git/signed');
      writeFileSync(file, signed);
      const hash = execFileSync('git', ['hash-object', '-t', 'commit', '-w', file], { cwd: made.directory });
      made.git('update-ref', 'HEAD', hash.toString().trim());
      return config((trap) => ({ 'gpg.program': trap, 'log.showSignature': 'true' }))(made);
    },
  },
  {
    name: 'signature-asked-for',
    argv: ['git', 'log', '--show-signature'],
    set: (made) => {
      traps.find(({ name }) => name === 'signature')?.set(made);
      return config((trap) => ({ 'gpg.openpgp.program': trap }))(made);
    },
  },
  {
    name: 'lazy-upload-pack',
    argv: ['git', 'show', 'HEAD:f'],
    set: promise((trap) => ({ 'remote.origin.url': '.', 'remote.origin.uploadpack': trap })),
  },
  {
    name: 'lazy-ssh',
    argv: ['git', 'diff'],
    set: promise((trap) => ({ 'remote.origin.url': 'ssh://a/b', 'core.sshCommand': trap })),
  },
  {
    name: 'lazy-ext',
    argv: ['git', 'cat-file', '-p', 'HEAD:f'],
    set: promise((trap) => ({ 'remote.origin.url': `ext::${trap}`, 'protocol.ext.allow': 'always' })),
  },
  {
    name: 'submodule',
    argv: ['git', 'status'],
    set: ({ directory, trap, git }) => {
      git('clone', '-q', '.', 'sub');
      git('add', 'sub');
      git('config', '--file', join(directory, 'sub/.git/config'), 'core.fsmonitor', trap);
      return undefined;
    },
  },
  {
    name: 'bare-repository',
    argv: ['git', 'status'],
    set: ({ directory, trap, git }) => {
      const inner = join(directory, 'docs');
      git('clone', '-q', '--bare', '.', inner);
      const file = join(inner, 'config');
      for (const [key, value] of [
        ['core.bare', 'false'],
        ['core.worktree', directory],
        ['core.fsmonitor', trap],
      ] as const)
        git('config', '--file', file, key, value);
      return inner;
    },
  },
  {
    name: 'external-diff',
    argv: ['git', 'diff', '--no-ext-diff'],
    bait: ['git', 'diff'],
    set: config((trap) => ({ 'diff.external': trap })),
  },
  {
    name: 'driver',
    argv: ['git', 'diff', '--no-ext-diff', '--no-textconv'],
    bait: ['git', 'diff'],
    set: driver,
  },
];

describe('the profile inspect', () => {
  it.each(traps.map((trap) => [trap.name, trap] as const))(
    'has git leave alone what the repository names: %s',
    async (name, { argv, bait = argv, set }) => {
      const made = repository(name);
      const cwd = set(made) ?? made.directory;
      const [program = '', ...rest] = bait;
      const env = { PATH: process.env['PATH'], HOME: '/nonexistent' };
      const bare = spawnSync(program, rest, { cwd, env, encoding: 'utf8' });
      expect(bare.stdout + bare.stderr).toContain(ran);

      const seen = await look(argv, cwd, made.directory);
      expect(seen.status).not.toBe('blocked');
      expect(seen.text).not.toContain(ran);
    },
  );

  it('leaves git as useful as it was', async () => {
    const { directory } = repository('honest');
    const show = (...argv: string[]) => look(['git', ...argv], directory, directory);
    for (const argv of [['status', '--short'], ['diff'], ['log', '--oneline'], ['show'], ['grep', 'two']]) {
      expect(await show(...argv)).toMatchObject({ status: 'success' });
    }
    expect((await show('diff')).text).toContain('+two');
    expect(readdirSync(directory).sort()).toEqual(['.git', 'f', 'trap']);
  });

  it('gives a command nothing else for those variables, whatever the host has', async () => {
    const { directory } = repository('variables');
    const shown = await look(['git', 'var', 'GIT_PAGER'], directory, directory);
    expect(shown.text.trim()).toBe('cat');
  });
});

async function look(argv: readonly string[], cwd: string, shown: string) {
  let text = '';
  const take = (data: Buffer) => {
    text += data.toString();
  };
  const { receipt } = await fleet
    .connect()
    .run(fleet.contract({ argv: [...argv], cwd, read_paths: [`${shown}/**`] }), {
      handlers: { onStdout: take, onStderr: take },
    });
  return { status: receipt?.status, error: receipt?.error, text };
}
