import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A scratch directory of one test, and a way to put files there. */
export interface Scratch {
  readonly directory: string;
  /** Writes text, bytes, or anything else as JSON; gives the path. */
  write(name: string, content: string | Buffer | object): string;
}

export function createScratch(): Scratch {
  const directory = mkdtempSync(join(tmpdir(), 'csc-cli-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return {
    directory,
    write: (name, content) => {
      const path = join(directory, name);
      const isRaw = typeof content === 'string' || Buffer.isBuffer(content);
      writeFileSync(path, isRaw ? content : JSON.stringify(content), { mode: 0o600 });
      return path;
    },
  };
}
