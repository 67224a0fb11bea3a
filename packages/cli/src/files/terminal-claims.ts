import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { defaultStateDir, makeDirectory, readBoundedFile } from '@csc-fleet/common/files';
import * as z from 'zod';
import { writeFileWhole } from './write-file.ts';

/** Who may type into the terminal of an execution: TerminalClaim of the client. */
interface Claim {
  readonly executionId: string;
  readonly run: string;
  readonly seed: Uint8Array;
}

const claimFile = z.strictObject({ run: z.string().max(64), seed: z.base64() });

/** A folder with a file for each terminal that somebody may come back to: it holds its key, and is for its owner alone. */
export class TerminalClaims {
  readonly #folder: string;

  constructor(env: NodeJS.ProcessEnv) {
    this.#folder = join(defaultStateDir(env), 'terminals');
  }

  /** Throws FILE_UNWRITABLE. */
  keep({ executionId, run, seed }: Claim): void {
    makeDirectory(this.#folder, { mode: 0o700 });
    const text = JSON.stringify({ run, seed: Buffer.from(seed).toString('base64') });
    writeFileWhole(this.#pathOf(executionId), `${text}\n`, 0o600);
  }

  /** Undefined where there is none, or none that can be read: then it can only be looked at. */
  find(executionId: string): Claim | undefined {
    const path = this.#pathOf(executionId);
    if (!existsSync(path)) return undefined;
    const { bytes } = readBoundedFile(path, { maxBytes: 1024 });
    try {
      const { run, seed } = claimFile.parse(JSON.parse(bytes.toString('utf8')));
      return { executionId, run, seed: Buffer.from(seed, 'base64') };
    } catch {
      return undefined;
    }
  }

  drop(executionId: string): void {
    rmSync(this.#pathOf(executionId), { force: true });
  }

  // The gate chooses the id.
  #pathOf(executionId: string): string {
    return join(this.#folder, `${encodeURIComponent(executionId).replaceAll('.', '%2E')}.json`);
  }
}
