import { createHash } from 'node:crypto';
import type { GateClient } from '@csc-fleet/client';
import { CscError } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';

// In bytes. How much it is said to be is the host's word.
const mostRecorded = 256 * 1024 * 1024;

/**
 * The recording of an execution's terminal, as its receipt names it. Throws EXECUTION_UNKNOWN where there is no receipt yet,
 * RECEIPT_INVALID where it names another one, or none, MESSAGE_TOO_LARGE where it names one that is too large to hold.
 */
export async function fetchRecording(
  client: Pick<GateClient, 'getReceipt' | 'readOutput'>,
  executionId: string,
): Promise<Buffer> {
  const { receipt } = await client.getReceipt(executionId);
  const command = receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.commands[0] : undefined;
  const due = command?.recording_hash;
  if (due === undefined)
    throw new CscError('RECEIPT_INVALID', 'its receipt names no recording: it had no terminal');
  const most = command?.recording_bytes ?? 0;
  if (most > mostRecorded)
    throw new CscError(
      'MESSAGE_TOO_LARGE',
      `its receipt names a recording of ${most} bytes, and this reads at most ${mostRecorded}, as it is kept in memory until it is known to be that one: csc get --output --stream recording writes it as it comes`,
    );
  const parts: Buffer[] = [];
  let length = 0;
  for await (const item of client.readOutput(executionId, {
    follow: false,
    stream: OutputStream.RECORDING,
  })) {
    if (item.type !== 'chunk') continue;
    length += item.data.length;
    if (length > most) break;
    parts.push(Buffer.from(item.data));
  }
  const bytes = Buffer.concat(parts);
  if (`sha256:${createHash('sha256').update(bytes).digest('hex')}` === due) return bytes;
  throw new CscError(
    'RECEIPT_INVALID',
    'the recording that the gate has is not the one that the receipt names',
  );
}
