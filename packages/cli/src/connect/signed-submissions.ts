import { existsSync, opendirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createSignedSubmissions, type SignedSubmission, type SignedSubmissions } from '@csc-fleet/client';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory, makeFile, readBoundedFile } from '@csc-fleet/common/files';
import { maxSubmissionLifeMs } from '@csc-fleet/common/submission';
import * as z from 'zod';
import { writeFileWhole } from '../files/write-file.ts';

// What is older than a submission can be valid is of no use; as many are looked at whenever one is added.
const keptMs = 2 * maxSubmissionLifeMs;
const lookedAt = 200;

const fileSchema = z.strictObject({ submission: z.string(), execution_id: z.string().exactOptional() });
const isNonce = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);

/**
 * What was signed, in a folder: NONCE.json is a submission that is handed in, NONCE.host the host that it may name, which
 * is there whole or not at all, so that of two processes that name one the first counts. Where the folder cannot be
 * written, what is signed counts in this process alone.
 * @param notKept told of that
 */
export function openSignedSubmissions(
  folder: () => string,
  notKept: (error: CscError) => void,
): SignedSubmissions {
  const memory = createSignedSubmissions();
  const at = (nonce: string, kind: 'json' | 'host'): string => {
    if (!isNonce(nonce)) throw new CscError('INTERNAL', `${JSON.stringify(nonce)} is no nonce`);
    return join(folder(), `${nonce}.${kind}`);
  };
  const orInMemory = async <T>(onDisk: () => T, instead: () => Promise<T>): Promise<T> => {
    try {
      return onDisk();
    } catch (error) {
      if (!(error instanceof CscError) || error.code !== 'FILE_UNWRITABLE') throw error;
      notKept(error);
      return instead();
    }
  };
  return {
    find: async (nonce) => readSigned(at(nonce, 'json'), nonce) ?? (await memory.find(nonce)),
    ofExecution: async (executionId) =>
      findOf(folder(), executionId) ?? (await memory.ofExecution(executionId)),
    keep: (it) =>
      orInMemory(
        () => {
          makeDirectory(folder(), { mode: 0o700 });
          forgetOld(folder());
          writeFileWhole(at(it.nonce, 'json'), toText(it), 0o600);
        },
        () => memory.keep(it),
      ),
    drop: async (nonce) => {
      rmSync(at(nonce, 'json'), { force: true });
      await memory.drop(nonce);
    },
    claim: (nonce, executorId) =>
      orInMemory(
        () => {
          makeDirectory(folder(), { mode: 0o700 });
          makeFile(at(nonce, 'host'), executorId, 0o600);
          return read(at(nonce, 'host'));
        },
        () => memory.claim(nonce, executorId),
      ),
  };
}

function toText({ submissionJson, executionId }: SignedSubmission): string {
  const name = executionId === undefined ? {} : { execution_id: executionId };
  return `${JSON.stringify({ submission: submissionJson.toString('utf8'), ...name })}\n`;
}

// What cannot be read was not written by us, and names no host.
function readSigned(file: string, nonce: string): SignedSubmission | undefined {
  if (!existsSync(file)) return undefined;
  const parsed = fileSchema.safeParse(toJson(read(file)));
  if (!parsed.success) return undefined;
  const { submission, execution_id: executionId } = parsed.data;
  const name = executionId === undefined ? {} : { executionId };
  return { nonce, submissionJson: Buffer.from(submission), ...name };
}

function read(file: string): string {
  return readBoundedFile(file, { maxBytes: 2 * artifactBytes.submission }).bytes.toString('utf8');
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function findOf(folder: string, executionId: string): SignedSubmission | undefined {
  for (const name of namesIn(folder)) {
    const [nonce = '', kind] = name.split('.');
    if (kind !== 'json' || !isNonce(nonce)) continue;
    const found = readSigned(join(folder, name), nonce);
    if (found?.executionId === executionId) return found;
  }
  return undefined;
}

function forgetOld(folder: string): void {
  const before = Date.now() - keptMs;
  for (const name of namesIn(folder, lookedAt)) {
    const path = join(folder, name);
    if ((statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? before) < before)
      rmSync(path, { force: true });
  }
}

function* namesIn(folder: string, most = Number.POSITIVE_INFINITY): Generator<string> {
  if (!existsSync(folder)) return;
  const directory = opendirSync(folder);
  try {
    for (let count = 0; count < most; count++) {
      const entry = directory.readSync();
      if (entry === null) return;
      yield entry.name;
    }
  } finally {
    directory.closeSync();
  }
}
