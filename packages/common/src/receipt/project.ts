import type { ReceiptV01, ReceiptV02 } from './receipt.ts';

/**
 * The v0.1 receipt of a v0.2 receipt: what v0.1 has no member for is dropped. It is unsigned, as a signature of the
 * whole cannot cover a part: project first, then sign.
 */
export function projectReceipt(receipt: ReceiptV02): ReceiptV01 {
  const {
    ticket_id: _ticketId,
    executor_id: _executorId,
    principal: _principal,
    submission_sha256: _submission,
    policy_version: _policyVersion,
    warnings: _warnings,
    commands: _commands,
    ended: _ended,
    sandbox: _sandbox,
    approvals: _approvals,
    previous_receipt_sha256: _previous,
    sequence: _sequence,
    executor_epoch: _epoch,
    receipt_certificates: _certificates,
    attestations: _attestations,
    sealed: _sealed,
    artifacts_left_out: _leftOut,
    signature: _signature,
    effect_summary: effects,
    ...common
  } = receipt;
  return {
    ...common,
    receipt_version: 'csc.receipt.v0.1',
    ...(effects === undefined ? {} : { effect_summary: projectEffects(effects) }),
  };
}

function projectEffects({
  egress: _egress,
  bytes_written: _bytesWritten,
  inodes_written: _inodesWritten,
  written_in_part: _inPart,
  ...common
}: NonNullable<ReceiptV02['effect_summary']>): NonNullable<ReceiptV01['effect_summary']> {
  return common;
}
