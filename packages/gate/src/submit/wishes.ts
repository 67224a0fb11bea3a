import { quoteBriefly } from '@csc-fleet/common/errors';
import { type SubmitRequest, toMilliseconds } from '@csc-fleet/common/messages';
import { type ReceiptVersion, receiptVersions } from '@csc-fleet/common/receipt';
import { requestInvalid } from '../bounds/request-invalid.ts';
import type { GateContext } from '../service/context.ts';
import type { IdempotencyKey } from '../store/write-step.ts';

/** What a request asks for beside its contract, read and checked. */
export interface Wishes {
  readonly principal: string;
  readonly now: Date;
  readonly selector: Record<string, string>;
  readonly approvals: readonly Buffer[];
  readonly key: IdempotencyKey | undefined;
  readonly receiptVersion: ReceiptVersion;
  readonly queueWaitMs: number;
}

/** Throws REQUEST_INVALID for a receipt version that there is not. */
export function readWishes(gate: GateContext, principal: string, request: SubmitRequest): Wishes {
  const { selector, idempotencyKey, approvalsJson, options } = request;
  const asked = options?.receiptVersion ?? '';
  const receiptVersion = asked === '' ? 'csc.receipt.v0.2' : receiptVersions.find((it) => it === asked);
  if (receiptVersion === undefined) {
    const problem = `${quoteBriefly(asked)} is not one of ${receiptVersions.join(', ')}`;
    throw requestInvalid('options.receipt_version', problem);
  }
  const longest = gate.limits.queueTimeoutSec * 1000;
  const wait = options?.queueTimeout === undefined ? longest : toMilliseconds(options.queueTimeout);
  return {
    principal,
    now: gate.clock.now(),
    selector,
    approvals: approvalsJson,
    key: idempotencyKey === '' ? undefined : { principal, idempotency_key: idempotencyKey },
    receiptVersion,
    queueWaitMs: Math.max(0, Math.min(wait, longest)),
  };
}
