import * as z from 'zod';
import { CscError, faulty, type Parsed } from '../errors/index.ts';
import { boundedText, integer, uniqueList, validate, versionMember } from '../schema/index.ts';
import { toLogTrust } from '../tlog/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';

const vkey = boundedText({ min: 1, max: 512 });

/** The rules of log.yaml. */
export const logSchema = z
  .strictObject({
    log_version: versionMember('log', 'csc.log.v0.1'),
    vkey: vkey.meta({
      description: 'The key of the gate’s log of receipts, NAME+ID+KEY, as log/log.vkey of the gate has it.',
    }),
    witnesses: uniqueList(vkey, 0).max(16).default([]).meta({
      description: 'The keys of witnesses whose cosignatures count, as csc witness prints them.',
    }),
    quorum: integer({ min: 0, max: 16 }).exactOptional().meta({
      description: 'How many of the witnesses must have cosigned. Absent: all of them.',
    }),
  })
  .meta({
    title: 'CSC log v0.1',
    description: 'Which log of receipts is the fleet’s, and how many witnesses must have seen it.',
  });

/** Which log of receipts is the fleet's. */
export interface OwnersLog {
  readonly vkey: string;
  readonly witnessVkeys: readonly string[];
  /** How many of them must have cosigned. */
  readonly quorum: number;
}

const maxBytes = 65_536;

/** Reads log.yaml: only keys of the kinds that they stand for, each once. */
export function parseLog(bytes: Uint8Array): Parsed<OwnersLog> {
  const document = parseStrictYaml(bytes, { maxBytes });
  if (!document.ok) return document;
  const said = validate(logSchema, document.value);
  if (!said.ok) return said;
  const { vkey, witnesses: witnessVkeys, quorum = witnessVkeys.length } = said.value;
  const log = { vkey, witnessVkeys, quorum };
  try {
    toLogTrust(log);
  } catch (error) {
    if (error instanceof CscError) return faulty(error.message);
    throw error;
  }
  return { ok: true, value: log };
}
