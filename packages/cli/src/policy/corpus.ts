import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContract, contractFromJson, parseContract } from '@csc-fleet/common/contract';
import { artifactBytes, parseStrictJson } from '@csc-fleet/common/encoding';
import { CscError, orThrow, type Parsed } from '@csc-fleet/common/errors';
import { splitLines } from '../files/lines.ts';
import { openInput, readInput } from '../files/read-input.ts';
import { isFolder } from './profiles.ts';

/** A contract that policies are asked about, and what it is called. */
export interface CorpusEntry {
  readonly name: string;
  readonly contract: CommandContract;
}

/**
 * The contracts of a corpus: of a folder each *.json, of a *.jsonl file (or `-`) each line, of another file the one that
 * it is. Throws FILE_UNREADABLE, or CONTRACT_INVALID for the first that is none.
 */
export async function* readCorpus(path: string): AsyncGenerator<CorpusEntry, void> {
  if (isFolder(path)) {
    for (const name of readdirSync(path).sort())
      if (name.endsWith('.json')) yield await readOne(join(path, name));
  } else if (path === '-' || path.endsWith('.jsonl')) yield* readLines(path);
  else yield await readOne(path);
}

async function readOne(path: string): Promise<CorpusEntry> {
  const contract = parseContract(await readInput(path, artifactBytes.contract));
  return { name: path, contract: orThrow(contract, 'CONTRACT_INVALID', path) };
}

async function* readLines(path: string): AsyncGenerator<CorpusEntry, void> {
  let number = 0;
  for await (const lines of splitLines(openInput(path), artifactBytes.contract))
    for (const line of lines) {
      number++;
      const name = `${path === '-' ? 'standard input' : path}:${number}`;
      if ('tooLong' in line)
        throw new CscError(
          'CONTRACT_INVALID',
          `${name} is ${line.tooLong} bytes long; at most ${artifactBytes.contract} are allowed`,
        );
      if (line.bytes.length > 0)
        yield { name, contract: orThrow(parseLine(line.bytes), 'CONTRACT_INVALID', name) };
    }
}

// What csc list --json, or a batch, writes has the contract as a member.
function parseLine(bytes: Buffer): Parsed<CommandContract> {
  const value = parseStrictJson(bytes, { maxBytes: artifactBytes.contract });
  if (!value.ok) return value;
  const { value: json } = value;
  const holder = typeof json === 'object' && json !== null && !Array.isArray(json) && 'contract' in json;
  return contractFromJson(holder ? (json['contract'] ?? null) : json);
}
