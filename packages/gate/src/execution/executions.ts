import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import type { Identity } from '@csc-fleet/common/identity';
import { type ExecutionEvent, ExecutionState } from '@csc-fleet/common/messages';
import type { TokenIdentity } from '@csc-fleet/common/oidc';
import type { Store } from '../store/store.ts';
import type { ExecutionRow, NewExecution } from '../store/tables.ts';
import type { IdempotencyKey, Step } from '../store/write-step.ts';
import { toAudit } from './audit.ts';
import { type Happening, LiveExecution } from './execution.ts';
import { toGatesOwn } from './gate-receipt.ts';
import { fromStoredApprovals } from './row.ts';

/** The client that an execution belongs to, as it was authenticated. */
export type Principal = Identity & { readonly role: 'client' };

/** All that there is of an execution when it is recorded, for one write. */
export interface NewLiveExecution {
  readonly row: NewExecution;
  readonly happened: readonly Happening[];
  /** What ends it at once. */
  readonly receiptJson?: Buffer;
  /** Ids of the approvals that it uses up. */
  readonly approvals: readonly string[];
  /** Whom the token named that it was submitted by. Absent: it was by none. */
  readonly identity?: TokenIdentity | undefined;
  readonly key: IdempotencyKey | undefined;
  /** The ids of its contract's commands. Absent: they are read from the store where they are asked for. */
  readonly commandIds?: readonly string[];
}

// Of more commands the ids are read when the first of them starts: thousands of executions may wait in memory.
const fewCommands = 32;

// The beginning of a UUID, and less than all of it.
const shortId = /^[0-9a-f][0-9a-f-]{3,34}$/i;

const wholeId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

// Only what the asker knows: whether another has it is none of their business.
function unknownTo({ uri }: Principal, named: string): CscError {
  let why = `${quoteBriefly(named)} is neither an id nor four or more of the first characters of one`;
  if (wholeId.test(named)) why = `${uri} has submitted none with the id ${named} at this gate`;
  else if (shortId.test(named)) why = `none that ${uri} has submitted at this gate begins with ${named}`;
  return new CscError('EXECUTION_UNKNOWN', `there is no such execution, or it is not yours: ${why}`);
}

/** All executions: the open ones in memory, the others in the store. */
export class Executions {
  readonly #store: Store;
  readonly #onChanged: (execution: LiveExecution) => void;
  readonly #onCreated: (execution: LiveExecution) => void;
  readonly #bytesPerDay: (principal: string) => number;
  readonly #open = new Map<string, LiveExecution>();
  /** Of the open ones, those that are not LOST: only their executors, or the owners, do anything about the others. */
  readonly #moving = new Map<string, LiveExecution>();
  readonly #creating = new Map<string, Promise<unknown>>();

  /**
   * @param onChanged is told of every step of an open execution once it is on disk
   * @param bytesPerDay the most that is stored for one principal in a day
   * @param onCreated is told of a new one once it is on disk, also where that is its end
   */
  constructor(
    store: Store,
    onChanged: (execution: LiveExecution) => void,
    bytesPerDay: (principal: string) => number,
    onCreated: (execution: LiveExecution) => void = () => undefined,
  ) {
    this.#onCreated = onCreated;
    this.#bytesPerDay = bytesPerDay;
    this.#store = store;
    this.#onChanged = (execution) => {
      if (this.#open.has(execution.id)) this.#sort(execution);
      onChanged(execution);
    };
  }

  /** Loads what was open when the gate ended. */
  async restore(): Promise<readonly LiveExecution[]> {
    for (const row of await this.#store.open()) {
      this.#hold(await this.#load(row));
    }
    return [...this.#open.values()];
  }

  /**
   * Records a new execution; resolves once it is on disk, to undefined where its idempotency key is taken. Throws
   * APPROVAL_INVALID, STORE_UNAVAILABLE, RATE_LIMITED.
   */
  async create(at: Date, execution: NewLiveExecution): Promise<LiveExecution | undefined> {
    const { execution_id: id } = execution.row;
    const creating = this.#create(at, execution);
    this.#creating.set(id, creating);
    try {
      return await creating;
    } finally {
      this.#creating.delete(id);
    }
  }

  async #create(at: Date, execution: NewLiveExecution): Promise<LiveExecution | undefined> {
    const { row, happened, receiptJson, approvals, identity, key, commandIds = [] } = execution;
    const { contract_json: _large, ...kept } = row;
    const events: ExecutionEvent[] = happened.map((event, index) => ({
      executionId: row.execution_id,
      sequence: index + 1,
      at,
      event,
    }));
    const receipt = receiptJson === undefined ? {} : { receipt: toGatesOwn(receiptJson) };
    const bytes = storedBytes(row, receiptJson);
    const usage = { principal: row.principal, now: at, bytes, bytesPerDay: this.#bytesPerDay(row.principal) };
    const audit = toAudit({
      row: kept,
      at,
      happened,
      identity,
      ...receipt,
      approvals: fromStoredApprovals(row.approvals_json),
    });
    const step: Step = { change: {}, events, approvals, key, usage, audit, ...receipt };
    if (!(await this.#store.create(row, step))) return undefined;
    const live = new LiveExecution(this.#store, kept, events, this.#onChanged);
    if (commandIds.length > 0 && commandIds.length <= fewCommands) live.knowCommands(commandIds);
    if (!live.terminal) this.#hold(live);
    this.#onCreated(live);
    return live;
  }

  /** Open executions in memory. */
  open(): IterableIterator<LiveExecution> {
    return this.#open.values();
  }

  /** Of them, those that are not LOST. */
  moving(): IterableIterator<LiveExecution> {
    return this.#moving.values();
  }

  #hold(execution: LiveExecution): void {
    this.#open.set(execution.id, execution);
    this.#sort(execution);
  }

  #sort(execution: LiveExecution): void {
    if (execution.row.state === ExecutionState.LOST) this.#moving.delete(execution.id);
    else this.#moving.set(execution.id, execution);
  }

  openById(executionId: string): LiveExecution | undefined {
    return this.#open.get(executionId);
  }

  /** Any execution, open or ended. */
  async find(executionId: string): Promise<LiveExecution | undefined> {
    const open = this.#open.get(executionId);
    if (open !== undefined) return open;
    const row = await this.#store.find(executionId);
    return row === undefined ? undefined : this.#adopt(row);
  }

  /** Throws EXECUTION_UNKNOWN also for another principal's: who may not see it does not learn that it exists. */
  async visible(principal: Principal, executionId: string): Promise<LiveExecution> {
    const execution = await this.find(executionId);
    if (execution?.row.principal === principal.uri) return execution;
    throw unknownTo(principal, executionId);
  }

  /**
   * The principal's own execution with this id, or the one whose id begins like this. Throws EXECUTION_UNKNOWN as
   * `visible` does, and where several begin so.
   */
  async named(principal: Principal, idOrPrefix: string): Promise<LiveExecution> {
    if (!shortId.test(idOrPrefix)) return this.visible(principal, idOrPrefix);
    const [found, another] = await this.#store.findByPrefix(principal.uri, idOrPrefix.toLowerCase());
    if (another !== undefined)
      throw new CscError(
        'EXECUTION_UNKNOWN',
        `several of your executions begin with ${idOrPrefix}: give more of the id`,
      );
    return this.visible(principal, found?.execution_id ?? idOrPrefix);
  }

  async findByKey(key: IdempotencyKey): Promise<LiveExecution | undefined> {
    const row = await this.#store.findByKey(key);
    return row === undefined ? undefined : this.#adopt(row);
  }

  /** The contract of an execution that is in the store, as canonical JSON. */
  contract(executionId: string): Promise<string> {
    return this.#store.contract(executionId);
  }

  /** Lets go of an execution that has ended; those who look at it still can. */
  release(execution: LiveExecution): void {
    this.#open.delete(execution.id);
    this.#moving.delete(execution.id);
  }

  // The one that is in memory, where there is one: a second one would not see what happens to it.
  async #adopt(row: ExecutionRow): Promise<LiveExecution> {
    await this.#creating.get(row.execution_id)?.catch(() => undefined);
    return this.#open.get(row.execution_id) ?? this.#load(row);
  }

  async #load(row: ExecutionRow): Promise<LiveExecution> {
    return new LiveExecution(this.#store, row, await this.#store.events(row.execution_id), this.#onChanged);
  }
}

// What the database adds to it: rows, keys, pages that are not full.
const rowBytes = 2048;

/** About what a new execution takes up on disk, before anything runs. */
function storedBytes(row: NewExecution, receiptJson: Uint8Array = new Uint8Array()): number {
  const {
    contract_json: contract,
    selector_json: selector,
    approvals_json: approvals,
    submission_json: submission,
    submission_token: token,
    decision,
    error,
  } = row;
  const texts = [contract, selector, approvals, submission ?? '', token ?? '', error, error].map((it) =>
    Buffer.byteLength(it),
  );
  // The decision and the receipt stand in an event each, too.
  return texts.reduce((sum, it) => sum + it, rowBytes) + 2 * decision.length + 2 * receiptJson.length;
}
