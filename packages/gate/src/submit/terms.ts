import { toTimestamp } from '@csc-fleet/common/encoding';
import { quoteBriefly } from '@csc-fleet/common/errors';
import { type SubmitRequest, toMilliseconds } from '@csc-fleet/common/messages';
import { type ReceiptVersion, receiptVersions } from '@csc-fleet/common/receipt';
import { requestInvalid } from '../bounds/index.ts';
import type { Principal } from '../execution/executions.ts';
import type { IdempotencyKey } from '../store/write-step.ts';

/** On what terms a contract is to run: what its request asks for beside it, read and checked. */
export interface Terms {
  /** Labels that its executor must have. */
  readonly selector: Readonly<Record<string, string>>;
  /** Undefined where the request names none. */
  readonly key: IdempotencyKey | undefined;
  readonly receiptVersion: ReceiptVersion;
  /** How long it may wait for an executor, in milliseconds; no longer than the gate lets anything wait. */
  readonly queueWaitMs: number;
}

/** Throws REQUEST_INVALID for a receipt version that there is not. */
export function readTerms(request: SubmitRequest, principal: Principal, queueTimeoutSec: number): Terms {
  const { selector, idempotencyKey, options } = request;
  const longest = queueTimeoutSec * 1000;
  const wait = options?.queueTimeout === undefined ? longest : toMilliseconds(options.queueTimeout);
  return {
    selector,
    key: idempotencyKey === '' ? undefined : { principal: principal.uri, idempotency_key: idempotencyKey },
    receiptVersion: readReceiptVersion(options?.receiptVersion ?? ''),
    queueWaitMs: Math.max(0, Math.min(wait, longest)),
  };
}

function readReceiptVersion(asked: string): ReceiptVersion {
  if (asked === '') return 'csc.receipt.v0.2';
  const version = receiptVersions.find((it) => it === asked);
  if (version !== undefined) return version;
  const problem = `${quoteBriefly(asked)} is not one of ${receiptVersions.join(', ')}`;
  throw requestInvalid('options.receipt_version', problem);
}

/** The time by which it must have been placed, as stored. */
export function queueDeadline({ queueWaitMs }: Terms, now: Date): string {
  return toTimestamp(new Date(now.getTime() + queueWaitMs));
}
