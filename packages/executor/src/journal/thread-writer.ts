import type { ChainLink } from '@csc-fleet/common/evidence';
import { Thread, toError } from '@csc-fleet/common/thread';
import { createWriter, type JournalWriter, type Outcome, type SealAt } from './commits.ts';
import { sealAhead } from './seal-ahead.ts';
import type { Statements } from './statements.ts';
import type { Answer, Batch, SentOutcome, WrittenFile } from './writer-main.ts';

/** Of all journals of this process: one is all that an executor has. */
let thread: Thread | undefined;
let journals = 0;

/**
 * Writes a journal in a thread of its own, over a connection of its own: commits, their fsyncs and SQLite's checkpoints are
 * done there, and hold up nothing here. What is signed is signed here, ahead, for the place that is next in the chain; where
 * the transaction finds another place, as other processes write the same journal, by a callback from within it.
 * @param statements over which the chain is read here
 */
export function openThreadWriter(
  file: WrittenFile,
  statements: Statements,
): {
  readonly writer: JournalWriter;
  close(): Promise<void>;
} {
  thread ??= new Thread('journal', './writer-main', import.meta.url);
  const asked = thread;
  journals += 1;
  const journal = journals;
  const writer = createWriter(async (commands, sealAt) => {
    const thrown = new Map<number, unknown>();
    const ahead = sealAhead(statements, commands, sealAt);
    const batch: Batch = { journal, file, commands, ahead };
    const sent = await asked.ask(batch, (question) => answer(question as Question, sealAt, thrown));
    return (sent as readonly SentOutcome[]).map((outcome, index) => toOutcome(outcome, thrown, index));
  });
  const close = async (): Promise<void> => void (await asked.ask({ journal, file, commands: 'close' }));
  return { writer, close };
}

interface Question {
  readonly index: number;
  readonly link: ChainLink;
}

function answer({ index, link }: Question, sealAt: SealAt, thrown: Map<number, unknown>): Answer {
  try {
    return { sealed: sealAt(index, link) };
  } catch (error) {
    thrown.set(index, error);
    return { sealed: undefined };
  }
}

// What signing threw is its caller's own, as it was thrown.
function toOutcome(outcome: SentOutcome, thrown: ReadonlyMap<number, unknown>, index: number): Outcome {
  if (!('error' in outcome)) return outcome;
  return { error: thrown.has(index) ? thrown.get(index) : toError(outcome.error) };
}
