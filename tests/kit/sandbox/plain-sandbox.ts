import { spawnSync } from 'node:child_process';
import { chownSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSeccomp, type SeccompOptions } from '../../../packages/sandbox/src/seccomp/load.ts';

/** A plain bubblewrap sandbox of an unprivileged user: what is refused in it is refused by the filter, or by nobody. */
export interface PlainSandbox {
  /** The one place that can be written to, and where programs start. */
  readonly directory: string;
  run(argv: readonly string[], options?: { readonly filtered?: boolean; readonly input?: string }): Ended;
  remove(): void;
}

export interface Ended {
  /** As in a shell: 128 and the signal for one that was killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const nobody = 65534;

export function createPlainSandbox(options: SeccompOptions = {}): PlainSandbox {
  const directory = mkdtempSync(join(tmpdir(), 'csc-filter-'));
  const { programs } = loadSeccomp(options);
  const files = programs.map((program, index) => {
    const file = join(directory, `filter-${index}`);
    writeFileSync(file, program);
    return file;
  });
  const asUser = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  if (asUser.uid !== undefined) chownSync(directory, nobody, nobody);
  return {
    directory,
    remove: () => rmSync(directory, { recursive: true }),
    run(argv, { filtered = true, input = '' } = {}) {
      const filters = filtered ? files.map((file) => openSync(file, 'r')) : [];
      try {
        const args = [
          ...flags(directory),
          ...filters.flatMap((_, index) => ['--add-seccomp-fd', `${index + 3}`]),
        ];
        return spawnSync('bwrap', [...args, '--', ...argv], {
          ...asUser,
          input,
          encoding: 'utf8',
          env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: directory, TMPDIR: directory, LANG: 'C.UTF-8' },
          stdio: ['pipe', 'pipe', 'pipe', ...filters],
        });
      } finally {
        filters.forEach(closeSync);
      }
    },
  };
}

function flags(directory: string): string[] {
  return [
    ...['--die-with-parent', '--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc'],
    ...['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'],
    ...['--bind', directory, directory, '--chdir', directory],
  ];
}
