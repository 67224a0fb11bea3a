import { closeSync, mkdirSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { toUntoldName, treePrefix, withUmask } from '../host/index.ts';
import type { EtcView } from '../plan/index.ts';

/** The copies of the host's /etc that sandboxes show, as a directory: one mount for all of them. */
export interface EtcTree {
  /** A descriptor of the directory, for every sandbox; made at the first call. Throws where it cannot be made. */
  open(): number;
  close(): void;
}

/** Plans say by its hash what is in it: a job that could change it would change what others see, so none gets it open. */
export function createEtcTree({ files, inner }: EtcView, scratchDirectory: string, nameKey: string): EtcTree {
  // Jobs see the name in their mount table.
  const root = posix.join(scratchDirectory, `${treePrefix}${toUntoldName(nameKey)}`);
  let fd: number | undefined;
  // Whatever umask the service has, every job user must get in.
  const make = (): number =>
    withUmask(0o022, () => {
      mkdirSync(root);
      const paths = [...files.keys(), ...inner.keys()];
      for (const path of new Set(paths.map(posix.dirname)))
        mkdirSync(posix.join(root, path), { recursive: true });
      for (const [path, bytes] of files) writeFileSync(posix.join(root, path), bytes, { mode: 0o444 });
      for (const [path, target] of inner) symlinkSync(target, posix.join(root, path));
      return openSync(root, 'r');
    });
  return {
    open() {
      fd ??= make();
      return fd;
    },
    close() {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
      rmSync(root, { recursive: true, force: true });
    },
  };
}
