import { CscError } from '../errors/index.ts';
import { type OutputChunk, OutputStream } from '../messages/index.ts';
import type { ExecutionReceipt, ReceiptV02 } from '../receipt/index.ts';
import { emptyDigest, RunningDigest, type StreamDigest, streamKey } from './digest.ts';

/** Hashes the output that went past, to hold a receipt's output hashes against it. */
export interface OutputCheck {
  /** Every chunk of an execution, each once, in the order in which they arrive. */
  add(chunk: OutputChunk): void;
  /** Throws RECEIPT_INVALID where the receipt vouches for other bytes than those that were seen. */
  verify(receipt: ExecutionReceipt): void;
}

/** A stream that a receipt vouches for. `bytes` is undefined where the receipt's version does not say. */
interface Claim {
  readonly name: string;
  readonly hash: string | undefined;
  readonly bytes: number | undefined;
}

/**
 * A v0.2 receipt has a hash for every command's stream; a v0.1 receipt has one for all of a stream, in the order
 * of the commands. Only what the receipt will have is hashed: it costs as much as reading the output.
 * @param receiptVersion what was asked for. Empty: not known before the receipt is there, so that both are hashed
 */
export function createOutputCheck(receiptVersion: string): OutputCheck {
  const ways = [
    ...(receiptVersion === 'csc.receipt.v0.1' ? [] : [ofCommand]),
    ...(receiptVersion === 'csc.receipt.v0.2' ? [] : [ofStream]),
  ];
  const seen = new Map<string, RunningDigest>();
  return {
    add: (chunk) => {
      for (const name of ways.map((way) => way(chunk))) {
        const digest = seen.get(name) ?? new RunningDigest();
        digest.add(chunk.data);
        seen.set(name, digest);
      }
    },
    verify: (receipt) => {
      const isV02 = receipt.receipt_version === 'csc.receipt.v0.2';
      const way = isV02 ? ofCommand : ofStream;
      if (!ways.includes(way)) throw invalid('the receipt is not of the version that was asked for');
      const prefix = isV02 ? commandPrefix : streamPrefix;
      const mine = [...seen].filter(([name]) => name.startsWith(prefix));
      const digests = new Map(mine.map(([name, digest]) => [name, digest.digest()]));
      compareAll(isV02 ? claimsOfCommands(receipt) : claimsOfStreams(receipt), digests);
    },
  };
}

const commandPrefix = 'command ';
const streamPrefix = 'all of ';

function ofCommand(chunk: Pick<OutputChunk, 'commandId' | 'stream'>): string {
  return `${commandPrefix}${streamKey(chunk)}`;
}

function ofStream({ stream }: Pick<OutputChunk, 'stream'>): string {
  return `${streamPrefix}${stream}`;
}

const { STDOUT, STDERR, TERMINAL, RECORDING } = OutputStream;

function claimsOfCommands({ commands }: ReceiptV02): Claim[] {
  return commands.flatMap((it) => [
    {
      name: ofCommand({ commandId: it.command_id, stream: STDOUT }),
      hash: it.stdout_hash,
      bytes: it.stdout_bytes,
    },
    {
      name: ofCommand({ commandId: it.command_id, stream: STDERR }),
      hash: it.stderr_hash,
      bytes: it.stderr_bytes,
    },
    {
      name: ofCommand({ commandId: it.command_id, stream: TERMINAL }),
      hash: it.terminal_hash,
      bytes: it.terminal_bytes,
    },
    {
      name: ofCommand({ commandId: it.command_id, stream: RECORDING }),
      hash: it.recording_hash,
      bytes: it.recording_bytes,
    },
  ]);
}

function claimsOfStreams({ stdout_hash, stderr_hash }: ExecutionReceipt): Claim[] {
  return [
    { name: ofStream({ stream: STDOUT }), hash: stdout_hash, bytes: undefined },
    { name: ofStream({ stream: STDERR }), hash: stderr_hash, bytes: undefined },
  ];
}

function compareAll(claims: readonly Claim[], seen: Map<string, StreamDigest>): void {
  for (const claim of claims) {
    compare(claim, seen.get(claim.name) ?? emptyDigest);
    seen.delete(claim.name);
  }
  // Output that no receipt covers may be anybody's: a gate could add a command of its own, or a stream.
  const uncovered = [...seen.values()].find(({ length }) => length > 0);
  if (uncovered !== undefined) {
    throw invalid(`the receipt says nothing of ${uncovered.length} bytes of output that arrived here`);
  }
}

function compare({ hash, bytes, name }: Claim, { sha256, length }: StreamDigest): void {
  if (hash === undefined && length === 0) return;
  if (sha256 === hash && (bytes === undefined || bytes === length)) return;
  if (bytes !== undefined && bytes < length) throw invalid(unconfirmed(bytes, length, name));
  if (bytes !== undefined && bytes > length) throw invalid(incomplete(bytes, length, name));
  throw invalid(`the receipt vouches for other output than the ${length} bytes that arrived here (${name})`);
}

// Its gate holds no more than the receipt says by then.
function unconfirmed(bytes: number, length: number, name: string): string {
  return `the receipt vouches for ${bytes} bytes, and ${length} arrived here (${name}): where the host was cut off or its disk was full, the last of them are unconfirmed. Read the output again (csc get --output): it ends where the receipt does`;
}

function incomplete(bytes: number, length: number, name: string): string {
  return `the receipt vouches for ${bytes} bytes, and ${length} arrived here (${name}): the last ${bytes - length} are lost, as where a host has lost its power or its disk, or are withheld, and the others cannot be checked without them. How the run ended is not in doubt: csc get shows it, and csc get --receipt-out its receipt`;
}

function invalid(message: string): CscError {
  return new CscError('RECEIPT_INVALID', message);
}
