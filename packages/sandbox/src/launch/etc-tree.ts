import { closeSync, mkdirSync, openSync, rmSync, symlinkSync, writeSync } from 'node:fs';
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
      const made = new Set<string>();
      for (const [path, bytes] of files) writeNew(placeIn(root, path, made), bytes);
      for (const [path, target] of inner) symlinkSync(target, placeIn(root, path, made));
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

// A run makes a hundred of them: half as long as by what node:fs has for it.
function placeIn(root: string, path: string, made: Set<string>): string {
  const directory = path.slice(0, Math.max(0, path.lastIndexOf('/')));
  if (directory !== '' && !made.has(directory)) {
    mkdirSync(placeIn(root, directory, made));
    made.add(directory);
  }
  return `${root}/${path}`;
}

function writeNew(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, 'wx', 0o444);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  } finally {
    closeSync(fd);
  }
}
