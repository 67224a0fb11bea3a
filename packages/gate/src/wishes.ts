import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import { type SubmitRequest, toMilliseconds } from '@csc-fleet/common/messages';
import { type ReceiptVersion, receiptVersions } from '@csc-fleet/common/receipt';
import type { GateContext } from './context.ts';
import type { IdempotencyKey } from './store/write-step.ts';

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

const maxKeyLength = 256;
const maxLabels = 64;
const maxLabelLength = 256;
const maxApprovals = 16;

/** Throws CONTRACT_INVALID, naming the member of the request. */
export function readWishes(gate: GateContext, principal: string, request: SubmitRequest): Wishes {
  const { selector, idempotencyKey, approvalsJson, options } = request;
  if (idempotencyKey.length > maxKeyLength)
    throw badRequest(`idempotency_key is longer than ${maxKeyLength} characters`);
  const labels = Object.entries(selector);
  if (labels.length > maxLabels) throw badRequest(`selector has more than ${maxLabels} labels`);
  if (labels.flat().some((text) => text.length > maxLabelLength))
    throw badRequest(`selector has a label of more than ${maxLabelLength} characters`);
  if (approvalsJson.length > maxApprovals)
    throw badRequest(`approvals_json has more than ${maxApprovals} approvals`);
  const asked = options?.receiptVersion ?? '';
  const receiptVersion = asked === '' ? 'csc.receipt.v0.2' : receiptVersions.find((it) => it === asked);
  if (receiptVersion === undefined) {
    throw badRequest(`receipt_version ${quoteBriefly(asked)} is not one of ${receiptVersions.join(', ')}`);
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

function badRequest(message: string): CscError {
  return new CscError('CONTRACT_INVALID', message);
}
