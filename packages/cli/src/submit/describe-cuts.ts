import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { plainLine } from '../terminal/plain-text.ts';

/** How many bytes of each stream came out here. */
export interface Shown {
  stdout: number;
  stderr: number;
}

/**
 * A line for each stream of which the host kept a beginning only: whoever reads on takes the rest for absent. By the
 * receipt, as a gate may keep it to itself.
 * @param shown a v0.1 receipt does not say how long the beginning is
 */
export function describeCuts(receipt: ExecutionReceipt | undefined, shown: Shown): string[] {
  if (receipt === undefined) return [];
  if (receipt.receipt_version !== 'csc.receipt.v0.2') {
    return [
      ...(receipt.stdout_truncated === true ? [describeCut('stdout', shown.stdout)] : []),
      ...(receipt.stderr_truncated === true ? [describeCut('stderr', shown.stderr)] : []),
    ];
  }
  return receipt.commands.flatMap((it) => [
    ...(it.stdout_truncated === true ? [describeCut(`stdout of ${it.command_id}`, it.stdout_bytes)] : []),
    ...(it.stderr_truncated === true ? [describeCut(`stderr of ${it.command_id}`, it.stderr_bytes)] : []),
  ]);
}

const mostNamed = 5;

/** A line for the expected outputs that the receipt has no hash of, with the first few and why. */
export function describeLeftOut(receipt: ExecutionReceipt | undefined): string[] {
  if (receipt?.receipt_version !== 'csc.receipt.v0.2' || receipt.artifacts_left_out === undefined) return [];
  const { count, first } = receipt.artifacts_left_out;
  const named = first.slice(0, mostNamed).map(({ path, reason }) => `${path} (${reason})`);
  const more = count > named.length ? `, and ${count - named.length} more` : '';
  const what = count === 1 ? '1 expected output is' : `${count} expected outputs are`;
  return [plainLine(`csc: WARNING ${what} not in the receipt: ${named.join(', ')}${more}`)];
}

/** @param bytes how much there is of it */
export function describeCut(stream: string, bytes: number): string {
  const count = bytes === 1 ? 'byte' : 'bytes';
  const what = `csc: WARNING ${stream} was cut after ${bytes} ${count}: it went over the limit, and the rest is lost`;
  return plainLine(`${what}. The receipt’s hash covers those ${bytes} ${count} and no more`);
}
