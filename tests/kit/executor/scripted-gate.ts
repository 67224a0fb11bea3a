import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import type { CommandContract } from '@csc-fleet/common/contract';
import { contractSha256 } from '@csc-fleet/common/contract';
import {
  createKeyRing,
  createSigner,
  generateKeyPair,
  type KeyRing,
  type Signer,
} from '@csc-fleet/common/crypto';
import {
  canonicalBytes,
  type JsonObject,
  type JsonValue,
  sha256Hex,
  toTimestamp,
} from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import {
  type GenuineReceipt,
  type ReceiptTexts,
  signArtifact,
  verifyReceiptFor,
} from '@csc-fleet/common/evidence';
import type { ConnectRequest, ConnectResponse, Duration, Offer } from '@csc-fleet/common/messages';
import { type Frame, readFrames } from '@csc-fleet/common/output-log';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutionReceipt, ReceiptV02 } from '@csc-fleet/common/receipt';
import type { UnsignedTicket } from '@csc-fleet/common/ticket';
import type { LinkConnection } from '../../../packages/executor/src/link/connection.ts';
import type { Executor } from '../../../packages/executor/src/link/linked-executor.ts';
import type { LinkMessage } from '../../../packages/executor/src/link/outbox.ts';
import type { OutputSink } from '../../../packages/executor/src/output/index.ts';

type MessageOf<Case extends LinkMessage['$case']> = Extract<LinkMessage, { $case: Case }>['value'];

/** What a test wants to differ in an offer. */
export interface OfferOverrides {
  readonly ticket?: Partial<UnsignedTicket>;
  readonly signer?: Signer;
  /** Sent in place of the contract that the ticket is for. */
  readonly contractJson?: Buffer;
  readonly approvals?: readonly JsonObject[];
  readonly executionId?: string;
  /** As its submitter signed it; the ticket then names it. */
  readonly submission?: Buffer;
  /** That comes with it. Absent: none. */
  readonly submissionToken?: string;
  /** As a gate mints that knows nothing of epochs. */
  readonly withoutEpoch?: true;
}

/** The gate's side of the link, which does as a test tells it. */
export class ScriptedGate {
  readonly signer: Signer;
  readonly keys: KeyRing;
  readonly output = new CollectingSink();
  /** Everything that the executor said, in order. */
  readonly messages: LinkMessage[] = [];
  /** Whether receipts are acknowledged as they come. */
  acknowledges = true;
  /** What it says with its Welcome of the executor's chain. */
  chainHead: Buffer = Buffer.alloc(0);
  readonly #events = new EventEmitter({ captureRejections: true });
  #say: ((message: ConnectResponse) => void) | undefined;
  #connection: LinkConnection | undefined;

  /** @param seed of the key that signs its tickets; the same for gates that are to be the same */
  constructor(seed: Uint8Array = generateKeyPair().seed) {
    this.signer = createSigner(seed, 'gate-test');
    this.keys = createKeyRing([{ keyId: this.signer.keyId, publicKey: this.signer.publicKey }]);
    this.#events.setMaxListeners(100);
  }

  /** In this process, without a transport. */
  connect(executor: Executor): void {
    const connection = executor.connect((message) => this.receive(message));
    this.#connection = connection;
    this.welcome((message) => connection.receive(message));
  }

  disconnect(): void {
    this.#connection?.closed();
    this.#connection = undefined;
    this.#say = undefined;
  }

  /** Over any transport: takes the way to the executor, and says Welcome. */
  welcome(say: (message: ConnectResponse) => void, heartbeatInterval?: Duration): void {
    this.#say = say;
    this.send({
      $case: 'welcome',
      value: { gateId: 'test', heartbeatInterval, chainHeadJson: this.chainHead, sentAt: undefined },
    });
  }

  send(message: NonNullable<ConnectResponse['message']>): void {
    this.#say?.({ message });
  }

  /** Offers a contract under a policy; gives the execution id. */
  offer(contract: CommandContract, policy: PolicyDocument, overrides: OfferOverrides = {}): string {
    const offer = this.mint(contract, policy, overrides);
    this.send({ $case: 'offer', value: offer });
    return offer.executionId;
  }

  mint(contract: CommandContract, policy: PolicyDocument, overrides: OfferOverrides = {}): Offer {
    const now = new Date();
    const epoch = overrides.withoutEpoch === true ? undefined : this.all('hello').at(-1)?.epoch;
    const unsigned: UnsignedTicket = {
      ticket_version: 'csc.ticket.v0.1',
      ticket_id: randomUUID(),
      issuer: 'spiffe://csc.local/gate/test',
      audience: 'executor-1',
      execution_id: `exec_${randomUUID()}`,
      contract_sha256: contractSha256(contract),
      policy_sha256: policy.sha256,
      policy_profile: policy.policy.name,
      principal: 'spiffe://csc.local/client/test',
      ...(epoch === undefined ? {} : { executor_epoch: epoch }),
      approval_ids: (overrides.approvals ?? []).map(({ approval_id }) => String(approval_id)),
      grant: {
        receipt_version: 'csc.receipt.v0.2',
        limits: { stdout_bytes: 2 ** 40, stderr_bytes: 2 ** 40 },
      },
      not_before: toTimestamp(now),
      expires_at: toTimestamp(new Date(now.getTime() + 30_000)),
      ...(overrides.submission === undefined ? {} : { submission_sha256: sha256Hex(overrides.submission) }),
      ...overrides.ticket,
    };
    const signedAt = new Date(unsigned.not_before);
    return {
      executionId: overrides.executionId ?? unsigned.execution_id,
      ticketJson: signArtifact(unsigned, overrides.signer ?? this.signer, signedAt),
      contractJson: overrides.contractJson ?? toBytes(contract),
      approvalsJson: (overrides.approvals ?? []).map(toBytes),
      submissionJson: overrides.submission ?? Buffer.alloc(0),
      submissionToken: overrides.submissionToken,
    };
  }

  acknowledge(executionId: string): void {
    this.send({ $case: 'receiptAck', value: { executionId } });
  }

  /** All messages of one kind about one execution. */
  all<Case extends LinkMessage['$case']>(kind: Case, executionId?: string): MessageOf<Case>[] {
    return this.messages.flatMap((message) =>
      message.$case === kind && (executionId === undefined || isAbout(message.value, executionId))
        ? [message.value as MessageOf<Case>]
        : [],
    );
  }

  /**
   * The next message of a kind about an execution, or one that has come already. Rejects at once where a refusal is
   * waited for and the offer is accepted: whoever waits for what cannot come any more sees no fault.
   */
  async next<Case extends LinkMessage['$case']>(kind: Case, executionId: string): Promise<MessageOf<Case>> {
    const accepted = this.all('accepted', executionId).length;
    for (;;) {
      const [found] = this.all(kind, executionId);
      if (found !== undefined) return found;
      if (kind === 'refused' && this.all('accepted', executionId).length > accepted)
        throw new CscError('INTERNAL', `${executionId} was accepted, and a refusal was due`);
      await once(this.#events, 'message');
    }
  }

  /** The signed receipt of an execution: of its end, or of its refusal. Verified with the key of Hello. */
  async receipt(executionId: string): Promise<ReceiptV02> {
    for (;;) {
      const [message] = [...this.all('receipt', executionId), ...this.all('refused', executionId)];
      if (message !== undefined) return this.verify(message) as ReceiptV02;
      await once(this.#events, 'message');
    }
  }

  verify(texts: Uint8Array | ReceiptTexts): ExecutionReceipt {
    return this.open(texts).receipt;
  }

  /** The receipt of an execution as the executor's chain has it, in both forms verified. */
  async chained(executionId: string): Promise<ReceiptV02> {
    await this.receipt(executionId);
    const [message] = [...this.all('receipt', executionId), ...this.all('refused', executionId)];
    const chained = message === undefined ? undefined : this.open(message).chained;
    if (chained === undefined) throw new CscError('INTERNAL', `the receipt of ${executionId} is in no chain`);
    return chained;
  }

  private open(texts: Uint8Array | ReceiptTexts): GenuineReceipt {
    const hello = this.all('hello').at(-1);
    if (hello === undefined) throw new CscError('INTERNAL', 'the executor has not said Hello');
    const keys = createKeyRing([{ keyId: hello.receiptKeyId, publicKey: hello.receiptPublicKey }]);
    return verifyReceiptFor({}, texts, keys);
  }

  /** What the executor says. */
  receive({ message }: ConnectRequest): void {
    if (message === undefined) return;
    this.messages.push(message);
    this.#events.emit('message');
    if (!this.acknowledges) return;
    if (message.$case === 'refused' && message.value.receiptJson.length > 0)
      queueMicrotask(() => this.acknowledge(message.value.executionId));
    if (message.$case === 'receipt') {
      const { executionId, outputLogLength } = message.value;
      void this.output.holds(executionId, outputLogLength).then(() => this.acknowledge(executionId));
    }
  }
}

function isAbout(value: object, executionId: string): boolean {
  return 'executionId' in value && value.executionId === executionId;
}

function toBytes(value: object): Buffer {
  return canonicalBytes(value as JsonValue);
}

/** A gate's output store that keeps all in memory. */
export class CollectingSink implements OutputSink {
  readonly #logs = new Map<string, Buffer>();
  readonly #events = new EventEmitter().setMaxListeners(100);

  async committedLength(executionId: string): Promise<number> {
    return this.log(executionId).length;
  }

  async append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number> {
    const log = this.log(executionId);
    if (logOffset !== log.length)
      throw new Error(`frames at ${logOffset}, and the log ends at ${log.length}`);
    this.#logs.set(executionId, Buffer.concat([log, frames]));
    this.#events.emit('append');
    return log.length + frames.length;
  }

  log(executionId: string): Buffer {
    return this.#logs.get(executionId) ?? Buffer.alloc(0);
  }

  async holds(executionId: string, length: number): Promise<void> {
    while (this.log(executionId).length < length) await once(this.#events, 'append');
  }

  chunks(executionId: string): Frame[] {
    return [...readFrames(this.log(executionId))];
  }

  /** What a command wrote to one stream (1: stdout, 2: stderr). */
  text(executionId: string, stream: 1 | 2 = 1, commandId?: string): string {
    const wanted = this.chunks(executionId).filter(
      (chunk) => chunk.stream === stream && (commandId === undefined || chunk.commandId === commandId),
    );
    return Buffer.concat(wanted.map(({ data }) => data)).toString('utf8');
  }
}
