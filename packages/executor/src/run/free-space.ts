import { statfsSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { encodePath } from '@csc-fleet/sandbox/host';

/** By how much there is less of a file system than there was. */
export interface Fall {
  readonly bytes: number;
  readonly inodes: number;
}

interface Gauge {
  readonly root: string;
  readonly bytes: number;
  readonly inodes: number;
}

// statfs(2), f_type: those that count what is written as it is written. Others do so seconds later, or never.
const prompt: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x01021994, 0xf2f52010, 0x794c7630]);

/**
 * What the file systems of some roots have left. Asking takes the same moment whatever lies below the roots, so it is what
 * a job cannot slow down. Where the owner has given a root a project quota, ext4 and XFS answer for that project alone.
 */
export class FreeSpace {
  /** Whether the answer can be relied upon at once. */
  readonly isPrompt: boolean;
  readonly #gauges: readonly Gauge[];

  constructor(roots: readonly string[]) {
    const systems = new Map(roots.flatMap(look));
    this.#gauges = [...systems.values()].map(({ gauge }) => gauge);
    this.isPrompt = systems.size > 0 && [...systems.values()].every((system) => system.isPrompt);
  }

  /** Since this was made. Never less than nothing: what others have freed is not this job's. */
  async fall(): Promise<Fall> {
    const falls = await Promise.all(this.#gauges.map(fallOf));
    return {
      bytes: falls.reduce((sum, { bytes }) => sum + bytes, 0),
      inodes: falls.reduce((sum, { inodes }) => sum + inodes, 0),
    };
  }
}

interface System {
  readonly gauge: Gauge;
  readonly isPrompt: boolean;
}

// By device and size: two projects of one file system have sizes of their own.
function look(root: string): [string, System][] {
  try {
    const { type, bsize, blocks, bfree, files, ffree } = statfsSync(encodePath(root));
    const gauge = { root, bytes: bfree * bsize, inodes: ffree };
    return [
      [
        `${statSync(encodePath(root)).dev}:${blocks}:${files}`,
        { gauge, isPrompt: blocks > 0 && prompt.has(type) },
      ],
    ];
  } catch {
    return [];
  }
}

async function fallOf({ root, bytes, inodes }: Gauge): Promise<Fall> {
  try {
    const { bsize, bfree, ffree } = await statfs(encodePath(root));
    return { bytes: Math.max(0, bytes - bfree * bsize), inodes: Math.max(0, inodes - ffree) };
  } catch {
    return { bytes: 0, inodes: 0 };
  }
}
