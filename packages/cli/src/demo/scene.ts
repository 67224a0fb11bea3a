import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { CscResult } from './csc.ts';
import type { Stage } from './stage.ts';

/** One thing that the demo shows. */
export interface Scene {
  readonly title: string;
  /** The csc command line, without `csc`; files are in the stage's directory. */
  readonly args: readonly string[];
  /** Puts the files there that it names. */
  prepare?(): void;
  /** What must have come of it: the first that is false is why the demo fails. */
  expect(result: CscResult): readonly Expectation[];
  /** What it proves, in plain words. */
  readonly proves: string;
}

export interface Expectation {
  readonly what: string;
  readonly met: boolean;
}

/** A scene that submits a contract and asks for its receipt. */
interface Submission {
  readonly name: string;
  readonly title: string;
  readonly contract: CommandContract;
  readonly more?: readonly string[];
  readonly proves: string;
  expect(result: CscResult, receipt: () => Receipt): readonly Expectation[];
  prepare?(): void;
}

/** The members of a receipt that the demo looks at. */
interface Receipt {
  readonly status?: string;
  readonly exit_code?: number;
  readonly artifacts?: readonly { readonly path: string; readonly sha256: string }[];
  readonly commands?: readonly { readonly argv_sha256: string }[];
  readonly sandbox?: { readonly mechanism: string };
}

/** The receipt goes to `NAME-receipt.json`. */
export function submission(stage: Stage, { name, contract, more = [], ...scene }: Submission): Scene {
  const receiptFile = `${name}-receipt.json`;
  const receipt = (): Receipt => readJson(join(stage.directory, receiptFile));
  return {
    ...scene,
    args: ['submit', `${name}.json`, ...more, '--receipt-out', receiptFile],
    prepare: () => {
      stage.write(`${name}.json`, `${JSON.stringify(contract, null, 2)}\n`);
      scene.prepare?.();
    },
    expect: (result) => scene.expect(result, receipt),
  };
}

function readJson(path: string): Receipt {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Receipt;
  } catch {
    return {};
  }
}

/** Expects an exit code. */
export const exits = (result: CscResult, code: number): Expectation => ({
  what: `csc ends with ${code}`,
  met: result.exitCode === code,
});

/** Lower-case hex; no hash at all where there is no such file. */
export function sha256Of(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return 'there is no such file';
  }
}
