import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { type Clock, sha256Tagged, toTimestamp } from '@csc-fleet/common/encoding';
import type { CscError } from '@csc-fleet/common/errors';
import {
  type ChainedReceipt,
  type ChainLink,
  type Sealing,
  sealChained,
  sealReceipt,
  signExecutorKey,
} from '@csc-fleet/common/evidence';
import {
  type CommandResult,
  type ConnectRequest,
  type ConnectResponse,
  EndedBy,
  type Hello,
  type Offer,
  OutputChunk,
  OutputStream,
  type Refused,
  type Validity,
} from '@csc-fleet/common/messages';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { Identity } from '@csc-fleet/common/rpc';
import type { UnsignedTicket } from '@csc-fleet/common/ticket';
import type { ExecutorConnection } from '../../../packages/gate/src/link/connection.ts';
import { encodeItem, itemField } from '../../../packages/gate/src/output/reader.ts';
import type { Gate } from '../../../packages/gate/src/service/compose.ts';

type FromGate = NonNullable<ConnectResponse['message']>;
type ToGate = NonNullable<ConnectRequest['message']>;
type ValueOf<Case extends FromGate['$case']> = Extract<FromGate, { $case: Case }>['value'];

export interface ScriptedExecutorOptions {
  readonly name: string;
  /** Default: csc.local. */
  readonly trustDomain?: string;
  readonly clock: Clock;
  readonly labels?: Record<string, string>;
  /** Default: 1. */
  readonly slots?: number;
  readonly policySha256s: readonly string[];
  /** Signs its receipts. Default: a key of its own. */
  readonly signer?: Signer;
  /** Of its certificate. Default: it comes without one. */
  readonly certificate?: Validity;
  /** Resolves once the gate may take it that it was heard. Default: always at once. */
  readonly ask?: () => Promise<void>;
  /** Whether it says that it waits for what is yet to be written down. Default: it does not. */
  readonly confirms?: boolean;
  /** Told of all that the gate says, as it comes. */
  readonly onMessage?: (message: FromGate) => void;
}

// As an executor before 0.3: it has no chain.
const none = Buffer.alloc(0);

/** A gate in this process, or the way to one. */
export interface Transport {
  readonly link: Gate['link'];
  readonly output: Pick<Gate['output'], 'append'>;
}

/** What a test wants to differ in a receipt, and who signs it instead. */
export interface ReceiptOverrides {
  readonly receipt?: Partial<ReceiptV02>;
  readonly signer?: Signer;
}

/** An executor that does only what a test tells it, and keeps what the gate said. */
export class ScriptedExecutor {
  readonly identity: Identity;
  readonly signer: Signer;
  /** Everything that the gate said, over all connections, in order. */
  readonly received: FromGate[] = [];
  /** Why the gate ended the last connection; undefined where it did not. */
  hungUp: CscError | undefined;
  readonly #gate: () => Transport;
  readonly #options: ScriptedExecutorOptions;
  readonly #events = new EventEmitter().setMaxListeners(100);
  #connection: ExecutorConnection | undefined;
  #heartbeats = 0;
  readonly #pushed = new Map<string, number>();
  /** What its heartbeats say. */
  wouldRefuse = 0;
  /** Why it takes nothing for want of room. */
  shortage = '';
  /** The labels that its certificate says. Undefined: it says nothing of labels. */
  certified: Readonly<Record<string, string>> | undefined;
  /** How far its clock is ahead of the gate's, in milliseconds. Undefined: it does not tell. */
  aheadMs: number | undefined;

  /** @param gate the one that runs when a connection is opened */
  constructor(gate: () => Transport, options: ScriptedExecutorOptions) {
    this.#gate = gate;
    this.#options = options;
    const { name, trustDomain = 'csc.local' } = options;
    const uri = `spiffe://${trustDomain}/executor/${name}`;
    this.identity = { uri, role: 'executor', name, trustDomain };
    this.signer = options.signer ?? createSigner(generateKeyPair().seed, `${name}-${randomUUID()}`);
  }

  #now(): Date | undefined {
    return this.aheadMs === undefined
      ? undefined
      : new Date(this.#options.clock.now().getTime() + this.aheadMs);
  }

  get name(): string {
    return this.#options.name;
  }

  /**
   * Opens a connection, which replaces the one before without closing it, and says Hello with the executions that its
   * journal holds. Resolves once the gate has taken it, or has hung up.
   */
  async connect(executionIds: readonly string[] = [], hello: Partial<Hello> = {}): Promise<void> {
    this.open();
    this.say({ $case: 'hello', value: { ...this.hello(executionIds), ...hello } });
    await this.settled();
  }

  /** Opens a connection and says nothing. */
  open(): ExecutorConnection {
    this.hungUp = undefined;
    const connection = this.#gate().link.open({
      executor: this.identity,
      certificate: this.#options.certificate,
      labels: this.certified,
      send: ({ message }) => {
        if (message === undefined) return;
        this.received.push(message);
        this.#options.onMessage?.(message);
        this.#events.emit('message');
      },
      hangUp: (error) => {
        this.hungUp = error;
        connection.closed();
        this.#events.emit('message');
      },
      ask: this.#options.ask,
    });
    this.#connection = connection;
    return connection;
  }

  hello(executionIds: readonly string[] = []): Hello {
    const { labels = {}, slots = 1, policySha256s, confirms } = this.#options;
    return {
      labels,
      slots,
      version: '0.0.0',
      receiptKeyId: this.signer.keyId,
      receiptPublicKey: Buffer.from(this.signer.publicKey),
      receiptKeyStatementJson: signExecutorKey(this.identity.uri, this.signer, this.#options.clock.now()),
      policySha256s: [...policySha256s],
      executionMode: 'hardened',
      executionIds: [...executionIds],
      epoch: '',
      chainHeadJson: none,
      policies: [],
      sandbox: [],
      sentAt: this.#now(),
      shortage: this.shortage,
      receiptlessIds: [],
      ...(confirms === undefined ? {} : { confirms }),
    };
  }

  disconnect(): void {
    this.#connection?.closed();
    this.#connection = undefined;
  }

  say(message: ToGate): void {
    this.#connection?.receive({ message });
  }

  /** Resolves once the gate has taken everything said so far, but for receipts; or once it has hung up. */
  async settled(): Promise<void> {
    this.say({
      $case: 'heartbeat',
      value: {
        running: 0,
        chainHeadJson: none,
        wouldRefuse: this.wouldRefuse,
        sentAt: this.#now(),
        shortage: this.shortage,
      },
    });
    this.#heartbeats = this.all('heartbeatAck').length + 1;
    while (this.all('heartbeatAck').length < this.#heartbeats && this.hungUp === undefined)
      await this.#message();
  }

  all<Case extends FromGate['$case']>($case: Case, executionId?: string): ValueOf<Case>[] {
    return this.received.flatMap((message) =>
      message.$case === $case && isAbout(message.value, executionId) ? [message.value as ValueOf<Case>] : [],
    );
  }

  /** The message of a kind that comes after `skip` others of it, or has come already. */
  async next<Case extends FromGate['$case']>(
    $case: Case,
    executionId?: string,
    skip = 0,
  ): Promise<ValueOf<Case>> {
    for (;;) {
      const found = this.all($case, executionId)[skip];
      if (found !== undefined) return found;
      await this.#message();
    }
  }

  async untilHungUp(): Promise<CscError> {
    while (this.hungUp === undefined) await this.#message();
    return this.hungUp;
  }

  get offered(): string[] {
    return this.all('offer').map((offer) => offer.executionId);
  }

  async accept(executionId: string): Promise<void> {
    this.say({ $case: 'accepted', value: { executionId, notes: [] } });
    await this.settled();
  }

  async started(executionId: string, commandId = 'main', index = 0): Promise<void> {
    this.say({ $case: 'commandStarted', value: { executionId, commandId, index } });
    await this.settled();
  }

  /** `stdout` is what the command has written in all. */
  async exited(executionId: string, stdout = '', commandId = 'main'): Promise<void> {
    const length = Buffer.byteLength(stdout);
    const end = { commandId, stream: OutputStream.STDOUT, length, sha256: '', truncated: false };
    const result: CommandResult = {
      commandId,
      endedBy: EndedBy.EXIT,
      exitCode: 0,
      signal: '',
      startedAt: this.#options.clock.now(),
      endedAt: this.#options.clock.now(),
      outputs: [end],
      error: '',
    };
    this.say({ $case: 'exited', value: { executionId, result } });
    await this.settled();
  }

  async refuse(executionId: string, reason: string, more: Partial<Refused> = {}): Promise<void> {
    const message = 'refused by a test';
    this.say({
      $case: 'refused',
      value: { executionId, reason, message, receiptJson: none, originalJson: none, lasting: false, ...more },
    });
    await this.settled();
  }

  /** Appends a chunk of stdout of the command `main` to the log at `logOffset`; resolves to the log's new length. */
  async push(executionId: string, logOffset: number, offset: number, text: string): Promise<number> {
    const length = await this.#gate().output.append(executionId, logOffset, toFrame(offset, text));
    this.#pushed.set(executionId, length);
    return length;
  }

  /** Sends a receipt and does not wait for anything. */
  sendReceipt(offer: Offer, overrides: ReceiptOverrides = {}, outputLogLength = 0): void {
    const receiptJson = this.receipt(offer, overrides);
    this.say({
      $case: 'receipt',
      value: { executionId: offer.executionId, receiptJson, originalJson: none, outputLogLength },
    });
  }

  /** Sends a receipt that counts on all that was pushed; resolves once the gate has acknowledged it. */
  async finish(offer: Offer, overrides: ReceiptOverrides = {}): Promise<void> {
    const before = this.all('receiptAck', offer.executionId).length;
    this.sendReceipt(offer, overrides, this.#pushed.get(offer.executionId));
    await this.next('receiptAck', offer.executionId, before);
  }

  /** A signed receipt of the version that the ticket asks for: of a success unless the test says otherwise. */
  receipt(offer: Offer, overrides: ReceiptOverrides = {}): Buffer {
    const { version, full, signer, now } = this.#unsigned(offer, overrides);
    return sealReceipt(full, { version, signer, now }).receiptJson;
  }

  /** The same as the first of a chain. */
  chained(offer: Offer, overrides: ReceiptOverrides = {}, link: Partial<ChainLink> = {}): ChainedReceipt {
    const { version, full, signer, now } = this.#unsigned(offer, overrides);
    const first = { epoch: '0'.repeat(32), sequence: 1, previousSha256: undefined };
    return sealChained(full, { version, signer, now }, { ...first, ...link });
  }

  #unsigned(
    { ticketJson, contractJson }: Offer,
    { receipt = {}, signer = this.signer }: ReceiptOverrides,
  ): { full: ReceiptV02 } & Sealing {
    const ticket = JSON.parse(ticketJson.toString()) as UnsignedTicket;
    const { contract_id: contractId } = JSON.parse(contractJson.toString()) as { contract_id: string };
    const now = this.#options.clock.now();
    const full: ReceiptV02 = {
      receipt_version: 'csc.receipt.v0.2',
      contract_id: contractId,
      execution_id: ticket.execution_id,
      contract_sha256: ticket.contract_sha256,
      status: 'success',
      started_at: toTimestamp(now),
      ended_at: toTimestamp(now),
      policy_profile: ticket.policy_profile,
      exit_code: 0,
      stdout_hash: sha256Tagged(''),
      stderr_hash: sha256Tagged(''),
      policy_sha256: ticket.policy_sha256,
      completed_command_ids: ['main'],
      ticket_id: ticket.ticket_id,
      executor_id: this.name,
      commands: [],
      ended: 'exit',
      approvals: [],
      ...receipt,
    };
    return { full, version: ticket.grant.receipt_version, signer, now };
  }

  async #message(): Promise<void> {
    await once(this.#events, 'message');
  }
}

/** A frame of an output log: stdout of the command `main`. */
export function toFrame(offset: number, text: string): Uint8Array {
  const data = Buffer.from(text);
  const chunk = { commandId: 'main', stream: OutputStream.STDOUT, offset, monotonicNs: 0, data };
  return encodeItem(itemField.chunk, OutputChunk.encode(chunk).finish());
}

function isAbout(value: object, executionId: string | undefined): boolean {
  return executionId === undefined || ('executionId' in value && value.executionId === executionId);
}
