import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { PolicySet } from '@csc-fleet/common/policy';
import type { ReceiptVersion } from '@csc-fleet/common/receipt';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { ExecutionRow, NewExecution, StoredReceipt, WithdrawnOffer } from '../store/tables.ts';
import type { Advance, Happening, LiveExecution } from './execution.ts';
import type { Executions } from './executions.ts';
import { signGateReceipt, toGatesOwn } from './gate-receipt.ts';
import { executorName, toExecution } from './row.ts';

export interface FinisherPorts {
  readonly executions: Pick<Executions, 'release'>;
  readonly policies: Pick<PolicySet, 'bySha256'>;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly onWarning: (message: LogMessage<'warn'>, details: LogFields) => void;
}

/** How an execution ended, as its row has it. */
export interface Finish {
  readonly state: number;
  readonly exitCode?: number;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly error: string;
}

/** Ends executions: the row, the Finished event and the receipt in one step. */
export class Finisher {
  readonly #ports: FinisherPorts;
  /** Receipts that are being written. */
  readonly #receiving = new Map<string, Promise<void>>();
  /** The owners' word on an execution that is being written. */
  readonly #resolving = new Map<string, Promise<void>>();

  constructor(ports: FinisherPorts) {
    this.#ports = ports;
  }

  /** Ends with the receipt of the executor that ran or refused it. A second copy of it waits for the first. */
  withReceipt(execution: LiveExecution, finish: Finish, receipt: StoredReceipt): Promise<void> {
    const known = this.#receiving.get(execution.id);
    if (known !== undefined) return known;
    const receiving = this.#withReceipt(execution, finish, receipt).finally(() =>
      this.#receiving.delete(execution.id),
    );
    this.#receiving.set(execution.id, receiving);
    return receiving;
  }

  async #withReceipt(execution: LiveExecution, finish: Finish, receipt: StoredReceipt): Promise<void> {
    const change = {
      state: finish.state,
      exit_code: finish.exitCode ?? null,
      started_at: finish.startedAt ?? execution.row.started_at,
      ended_at: finish.endedAt ?? toTimestamp(this.#ports.clock.now()),
      error: finish.error,
    };
    await this.#end(execution, change, receipt);
  }

  /**
   * Ends what no executor has started, with a receipt of the gate's own.
   * @param withdrawn the offer of it that is still out, which is remembered in case that it is started all the same
   * @param with what changes and has happened with its end, beside that
   */
  async unstarted(
    execution: LiveExecution,
    state: number,
    error: string,
    withdrawn?: WithdrawnOffer,
    { change: also = {}, happened = [] }: Pick<Advance, 'change' | 'happened'> = {},
  ): Promise<void> {
    const { row } = execution;
    const { policies, signer, clock } = this.#ports;
    const now = clock.now();
    const receiptJson = signGateReceipt(
      {
        status: state === ExecutionState.EXPIRED ? 'expired' : 'blocked',
        ended: state === ExecutionState.CANCELLED ? 'cancelled' : 'refused',
        contractId: row.contract_id,
        contractSha256: row.contract_sha256,
        executionId: row.execution_id,
        policyProfile: row.policy_profile,
        policySchemaVersion: policies.bySha256(row.policy_sha256)?.policy.policy_schema_version,
        policySha256: row.policy_sha256,
        receiptVersion: row.receipt_version as ReceiptVersion,
        submittedAt: new Date(row.submitted_at),
        error,
      },
      signer,
      now,
    );
    const change = { ...also, state, ended_at: toTimestamp(now), error };
    await this.#end(execution, change, toGatesOwn(receiptJson), withdrawn, happened);
  }

  /**
   * Ends what is not coming back, as the owners have signed: without a receipt, as nobody knows what of it ran.
   * @param withdrawn the offer that its executor had, whose receipt is kept if it comes after all
   */
  async resolved(
    execution: LiveExecution,
    error: string,
    resolutionsJson: readonly Buffer[],
    withdrawn: WithdrawnOffer | undefined,
  ): Promise<void> {
    const now = this.#ports.clock.now();
    const change = { state: ExecutionState.LOST, ended_at: toTimestamp(now), error, submission_token: null };
    const finished = toFinished({ ...execution.row, ...change }, undefined, resolutionsJson);
    const resolving = execution.advance(now, { change, happened: [finished], withdrawn });
    const settled = resolving.catch(() => undefined).finally(() => this.#resolving.delete(execution.id));
    this.#resolving.set(execution.id, settled);
    await resolving;
    this.#ports.executions.release(execution);
  }

  /** What to wait for before something else ends it; undefined: nothing. */
  ending(executionId: string): Promise<void> | undefined {
    return this.#resolving.get(executionId) ?? this.#receiving.get(executionId);
  }

  /**
   * Its executor is gone with it. It stays open: the receipt may still come, and then it counts.
   * @param change what is not to be counted on any more of its row
   */
  async lost(
    execution: LiveExecution,
    error: string,
    change: Partial<Pick<ExecutionRow, 'ticket_epoch'>> = {},
  ): Promise<void> {
    await this.#end(execution, { ...change, state: ExecutionState.LOST, error }, undefined);
    const executor = executorName(execution.row.executor_id);
    this.#ports.onWarning('an execution is LOST', { executionId: execution.id, executor, why: error });
  }

  async #end(
    execution: LiveExecution,
    change: Partial<ExecutionRow>,
    receipt: StoredReceipt | undefined,
    withdrawn?: WithdrawnOffer,
    before: readonly Happening[] = [],
  ): Promise<void> {
    const finished = toFinished({ ...execution.row, ...change }, receipt);
    await execution.advance(this.#ports.clock.now(), {
      // Whose token it was is over with it; whoever is not LOST for good has started, or never will.
      change: execution.row.submission_token === null ? change : { ...change, submission_token: null },
      happened: [...before, finished],
      withdrawn,
      receipt,
    });
    if (receipt !== undefined) this.#ports.executions.release(execution);
  }
}

/** The event that ends an execution with this row; without a receipt where its executor is gone with it. */
export function toFinished(
  row: Omit<NewExecution, 'contract_json'>,
  receipt: StoredReceipt | undefined,
  resolutions: readonly Buffer[] = [],
): Happening {
  const execution = toExecution(row);
  const { receiptJson, originalJson } = receipt ?? toGatesOwn(Buffer.alloc(0));
  const resolutionsJson = [...resolutions];
  return { $case: 'finished', value: { execution, receiptJson, originalJson, resolutionsJson } };
}
