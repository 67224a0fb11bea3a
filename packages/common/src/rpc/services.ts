import { ApprovalsService as Approvals } from '../gen/csc/gate/v1/approvals.ts';
import { FleetService as Fleet, GateService as Gate } from '../gen/csc/gate/v1/gate.ts';
import { withFewFields } from './few-fields.ts';

// Of requests without a contract, those with a terminal's frames and with many labels have the most: less than a thousand.
const usual = 8192;
// A contract as a typed message: its commands may have 40,000 arguments in all.
const contract = { requests: 128 * 1024 };
// Lists of a thousand executions, or of all hosts with all their policies.
const responses = (bytes: number): number => 64 * 1024 + bytes / 8;

/** csc.gate.v1.Gate. */
export const GateService = withFewFields(Gate, {
  requests: usual,
  responses,
  of: { submit: contract, run: contract, check: contract },
});

/** csc.gate.v1.Fleet. */
export const FleetService = withFewFields(Fleet, { requests: usual, responses });

/** csc.gate.v1.Approvals. */
export const ApprovalsService = withFewFields(Approvals, { requests: usual, responses });
