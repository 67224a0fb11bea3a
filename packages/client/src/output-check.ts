import { createHash, type Hash } from 'node:crypto';
import { CscError } from '@csc-fleet/common/errors';
import { type OutputChunk, OutputStream } from '@csc-fleet/common/messages';
import type { ExecutionReceipt, ReceiptV02 } from '@csc-fleet/common/receipt';
import { keyOf } from './progress.ts';

/** Hashes the output that went past, to hold a receipt's output hashes against it. */
export interface OutputCheck {
  /** Every chunk of an execution, each once, in the order in which they arrive. */
  add(chunk: OutputChunk): void;
  /** Throws RECEIPT_INVALID where the receipt vouches for other bytes than those that were seen. */
  verify(receipt: ExecutionReceipt): void;
}

interface Seen {
  readonly hash: Hash;
  length: number;
}

/**
 * A v0.2 receipt has a hash for every command's stream; a v0.1 receipt has one for all of a stream, in the order
 * of the commands. Only what the receipt will have is hashed: it costs as much as reading the output.
 * @param receiptVersion what was asked for; empty means v0.2
 */
export function createOutputCheck(receiptVersion: string): OutputCheck {
  const perCommand = receiptVersion !== 'csc.receipt.v0.1';
  const seen = new Map<string, Seen>();
  return {
    add: (chunk) => {
      const key = perCommand ? keyOf(chunk) : totalOf(chunk.stream);
      const entry = seen.get(key) ?? { hash: createHash('sha256'), length: 0 };
      entry.hash.update(chunk.data);
      entry.length += chunk.data.length;
      seen.set(key, entry);
    },
    verify: (receipt) => {
      if (receipt.receipt_version === 'csc.receipt.v0.2') {
        if (perCommand) verifyCommands(receipt, seen);
      } else if (!perCommand) verifyTotals(receipt, seen);
    },
  };
}

function verifyCommands(receipt: ReceiptV02, seen: ReadonlyMap<string, Seen>): void {
  for (const command of receipt.commands ?? []) {
    const commandId = command.command_id;
    const label = `command ${JSON.stringify(commandId)}`;
    const stdout = seen.get(keyOf({ commandId, stream: OutputStream.STDOUT }));
    const stderr = seen.get(keyOf({ commandId, stream: OutputStream.STDERR }));
    compare(`stdout of ${label}`, command.stdout_hash, stdout);
    compare(`stderr of ${label}`, command.stderr_hash, stderr);
  }
}

function verifyTotals(receipt: ExecutionReceipt, seen: ReadonlyMap<string, Seen>): void {
  compare('stdout', receipt.stdout_hash, seen.get(totalOf(OutputStream.STDOUT)));
  compare('stderr', receipt.stderr_hash, seen.get(totalOf(OutputStream.STDERR)));
}

function totalOf(stream: OutputStream): string {
  return `all of ${stream}`;
}

function compare(what: string, claimed: string | undefined, seen: Seen | undefined): void {
  if (claimed === undefined) return;
  const hash = seen?.hash.copy() ?? createHash('sha256');
  if (`sha256:${hash.digest('hex')}` === claimed) return;
  throw new CscError(
    'RECEIPT_INVALID',
    `the receipt vouches for another ${what} than the ${seen?.length ?? 0} bytes that arrived here`,
  );
}
