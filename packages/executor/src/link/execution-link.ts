import { toReceiptError } from '@csc-fleet/common/evidence';
import { type CommandResult, EndedBy } from '@csc-fleet/common/messages';
import type { Ending } from '@csc-fleet/common/receipt';
import type { CommandOutcome } from '../evidence/index.ts';
import type { ExecutionLink } from '../execute.ts';
import { type CapturedStream, streamNumbers } from '../output/index.ts';
import type { Deliveries } from './deliver.ts';
import type { Outbox } from './outbox.ts';

// As a gate takes them: beyond, it ends the connection, and names in notes and errors are whoever's who wrote the contract.
const mostNotes = 64;
const mostOfNote = 4000;

/**
 * Says over the link what becomes of an execution: at once where the gate is there, and what it must not miss until it
 * has acknowledged that.
 */
export function createExecutionLink(
  executionId: string,
  outbox: Outbox,
  deliveries: Deliveries,
): Omit<ExecutionLink, 'checkRoom' | 'checkWanted'> {
  return {
    refused(refused) {
      if (refused.receiptJson.length > 0) deliveries.addRefusal(refused);
      else outbox.post({ $case: 'refused', value: refused });
    },
    accepted(notes, spool) {
      const told = notes.slice(0, mostNotes).map((note) => note.slice(0, mostOfNote).toWellFormed());
      outbox.postSoon({ $case: 'accepted', value: { executionId, notes: told } });
      deliveries.upload(spool);
    },
    commandStarted({ id: commandId }, index) {
      outbox.postSoon({ $case: 'commandStarted', value: { executionId, commandId, index } });
    },
    commandExited(outcome) {
      outbox.postSoon({ $case: 'exited', value: { executionId, result: toExited(outcome) } });
    },
    finished: (finished, spool) => deliveries.add(finished, spool),
  };
}

const endedBy: Readonly<Record<Ending, EndedBy>> = {
  exit: EndedBy.EXIT,
  signal: EndedBy.SIGNAL,
  timeout: EndedBy.TIMEOUT,
  cancelled: EndedBy.CANCELLED,
  output_limit: EndedBy.OUTPUT_LIMIT,
  out_of_memory: EndedBy.OUT_OF_MEMORY,
  executor_restart: EndedBy.EXECUTOR_RESTART,
  refused: EndedBy.REFUSED,
};

/** How a command went, as the link says it. */
function toExited(outcome: CommandOutcome): CommandResult {
  const { commandId, ended, exitCode, signal, startedAt, endedAt, error, output } = outcome;
  return {
    commandId,
    endedBy: endedBy[ended],
    ...(exitCode === undefined || ended === 'signal' ? {} : { exitCode }),
    signal: signal ?? '',
    startedAt,
    endedAt,
    outputs: (Object.keys(streamNumbers) as CapturedStream[]).flatMap((stream) => {
      const digest = output[stream];
      return digest === undefined ? [] : [{ commandId, stream: streamNumbers[stream], ...digest }];
    }),
    error: toReceiptError(error ?? ''),
  };
}
