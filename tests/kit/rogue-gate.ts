import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import {
  createSigner,
  defaultKeyId,
  nodeEd25519,
  readPrivateKey,
  type Signer,
} from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { signArtifact } from '@csc-fleet/common/evidence';
import type { TerminalFrame, TerminalTaken } from '@csc-fleet/common/messages';
import { readPolicyFile } from '@csc-fleet/common/policy';
import {
  type ConnectRequest,
  type ConnectResponse,
  ExecutorLinkService,
  type FetchPolicyFileRequest,
  type FetchPolicyFileResponse,
  identityOfCall,
  type Offer,
  readServerCredentials,
  toDuration,
} from '@csc-fleet/common/rpc';
import type { UnsignedTicket } from '@csc-fleet/common/ticket';
import { Server, type ServerDuplexStream, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Fleet } from './fleet.ts';

type Call = ServerDuplexStream<ConnectRequest, ConnectResponse>;
type FileCall = ServerUnaryCall<FetchPolicyFileRequest, FetchPolicyFileResponse>;

/**
 * A gate that has been taken over: it has the gate's certificate and its signing key, sits at its address, and says
 * to an executor whatever the test wants it to say.
 */
export class RogueGate implements AsyncDisposable {
  readonly signer: Signer;
  /** The executor that it speaks to. Absent: the one that came last. */
  speaksTo: string | undefined;
  /** What it gives executors that ask for a file of the policy repository; undefined: no such file. Default: none. */
  files: (path: string) => Uint8Array | undefined | Promise<Uint8Array | undefined> = () => undefined;
  readonly #fleet: Fleet;
  readonly #server = new Server();
  readonly #calls: { readonly call: Call; readonly executor: string }[] = [];
  /** By executor, of the journal that it said hello with. */
  readonly #epochs = new Map<string, string>();
  readonly #said: NonNullable<ConnectRequest['message']>[] = [];
  #heard: (() => void)[] = [];

  private constructor(fleet: Fleet) {
    this.#fleet = fleet;
    const seed = readPrivateKey(join(fleet.directory, 'gate', 'gate.key'));
    this.signer = createSigner(seed, defaultKeyId('gate', nodeEd25519.publicKey(seed)));
  }

  /** Takes the place of the fleet's gate; resolves once an executor has said hello. */
  static async takeOver(fleet: Fleet): Promise<RogueGate> {
    await fleet.gate.stop('SIGKILL');
    const rogue = new RogueGate(fleet);
    await rogue.#listen();
    await rogue.hears('hello');
    return rogue;
  }

  /** Of the journal that this executor has said hello with; undefined where it has not. */
  epochOf(executor: string): string | undefined {
    return this.#epochs.get(executor);
  }

  /** A ticket that is good in every way, except for what `overrides` says. */
  ticket(contract: CommandContract, overrides: Partial<UnsignedTicket> = {}, signer = this.signer): Buffer {
    const policy = readPolicyFile(join(this.#fleet.directory, 'policies', 'tests.yaml'));
    // One reading of the clock: a ticket that lives a millisecond over 60 s is refused.
    const now = new Date();
    const ticket: UnsignedTicket = {
      ticket_version: 'csc.ticket.v0.1',
      ticket_id: crypto.randomUUID(),
      issuer: 'gate',
      audience: 'victim',
      execution_id: crypto.randomUUID(),
      contract_sha256: contractSha256(contract),
      policy_sha256: policy.sha256,
      policy_profile: policy.policy.name,
      principal: 'spiffe://csc.local/client/alice',
      approval_ids: [],
      grant: {
        receipt_version: 'csc.receipt.v0.2',
        limits: { stdout_bytes: 1 << 20, stderr_bytes: 1 << 20 },
      },
      not_before: toTimestamp(now),
      expires_at: toTimestamp(new Date(now.getTime() + 60_000)),
      ...overrides,
    };
    return signArtifact(ticket, signer, now);
  }

  /** Offers a contract and resolves to what the executor says first of that execution: accepted or refused. */
  async offer(ticketJson: Buffer, contract: CommandContract, approvals: readonly object[] = []) {
    const executionId = executionOf(ticketJson);
    const offer: Offer = {
      executionId,
      ticketJson,
      contractJson: Buffer.from(JSON.stringify(contract)),
      approvalsJson: approvals.map((it) => Buffer.from(JSON.stringify(it))),
      submissionJson: Buffer.alloc(0),
    };
    return this.offerRaw(offer);
  }

  /** Resolves once the executor has sent the receipt of the execution that this ticket is for. */
  receiptFor(ticketJson: Buffer) {
    const executionId = executionOf(ticketJson);
    return this.#next(
      (message) => message.$case === 'receipt' && message.value.executionId === executionId,
      0,
    );
  }

  /** Offers anything at all; resolves to what the executor says first of that execution. */
  async offerRaw(offer: Offer) {
    const from = this.#said.length;
    this.send({ $case: 'offer', value: offer });
    return this.#answer(offer.executionId, from);
  }

  /** Resolves once the first command of this execution runs. */
  runs(executionId: string) {
    return this.#next(
      (message) => message.$case === 'commandStarted' && message.value.executionId === executionId,
      0,
    );
  }

  /** Brings this to be typed into the terminal of an execution; resolves to how far the executor says that it has come. */
  async type(executionId: string, frames: TerminalFrame[]): Promise<TerminalTaken> {
    const from = this.#said.length;
    this.send({ $case: 'terminalInput', value: { executionId, frames } });
    const answer = await this.#next(
      (message) => message.$case === 'terminalTaken' && message.value.executionId === executionId,
      from,
    );
    if (answer.$case !== 'terminalTaken') throw new Error(answer.$case);
    return answer.value;
  }

  /** Resolves once an executor has said hello on a connection that comes after now, and knows how that has begun. */
  async reconnected(meanwhile: () => void) {
    const from = this.#said.length;
    meanwhile();
    return this.#next((message) => message.$case === 'hello', from);
  }

  /** Resolves once this executor has come here. */
  async isMet(name: string): Promise<void> {
    while (!this.#calls.some(({ executor }) => executor === name))
      await new Promise<void>((resolve) => this.#heard.push(resolve));
  }

  /** Ends the connection, as a gate does that restarts. */
  hangUp(): void {
    this.#call.end();
  }

  /** Every signed outcome of an execution that the executor has let out, each once. */
  outcomesOf(executionId: string): string[] {
    const signed = this.#said.flatMap((message) =>
      (message.$case === 'receipt' || message.$case === 'refused') &&
      message.value.executionId === executionId
        ? [message.value.receiptJson.toString()]
        : [],
    );
    return [...new Set(signed.filter((text) => text !== ''))];
  }

  /** Says anything at all to the executor. */
  send(message: NonNullable<ConnectResponse['message']>): void {
    this.#call.write({ message });
  }

  /** Resolves to the first message of this kind, past or to come. */
  hears(kind: NonNullable<ConnectRequest['message']>['$case']) {
    return this.#next((message) => message.$case === kind, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #answer(executionId: string, from: number) {
    return this.#next(
      (message) =>
        (message.$case === 'accepted' || message.$case === 'refused') &&
        message.value.executionId === executionId,
      from,
    );
  }

  get #call(): Call {
    const call = this.#calls.findLast(({ executor }) => executor === (this.speaksTo ?? executor))?.call;
    if (call === undefined) throw new Error('no executor is connected');
    return call;
  }

  async #listen(): Promise<void> {
    const file = (it: string) => join(this.#fleet.pki, it);
    const credentials = readServerCredentials({
      ca: file('ca.pem'),
      cert: file('gate.pem'),
      key: file('gate.key'),
    });
    this.#server.addService(ExecutorLinkService, {
      connect: (call: Call) => this.#serve(call),
      pushOutput: (call: ServerDuplexStream<unknown, unknown>) => call.on('data', () => undefined),
      fetchPolicyFile: (call: FileCall, reply: sendUnaryData<FetchPolicyFileResponse>) =>
        void this.#serveFile(call.request.path).then((answer) => reply(null, answer)),
    });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(this.#fleet.address, credentials, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }

  async #serveFile(path: string): Promise<FetchPolicyFileResponse> {
    const content = await this.files(path);
    return { found: content !== undefined, content: Buffer.from(content ?? []) };
  }

  #serve(call: Call): void {
    const executor = identityOfCall(call).name;
    this.#calls.push({ call, executor });
    call.on('error', () => undefined);
    call.on('end', () => call.end());
    call.on('data', ({ message }: ConnectRequest) => {
      if (message?.$case === 'hello') {
        this.#epochs.set(executor, message.value.epoch);
        call.write({
          message: {
            $case: 'welcome',
            value: {
              gateId: 'gate',
              heartbeatInterval: toDuration(10_000),
              chainHeadJson: Buffer.alloc(0),
              sentAt: undefined,
            },
          },
        });
      }
      if (message !== undefined) this.#said.push(message);
      for (const wake of this.#heard.splice(0)) wake();
    });
  }

  async #next(matches: (message: NonNullable<ConnectRequest['message']>) => boolean, from: number) {
    for (;;) {
      const found = this.#said.slice(from).find(matches);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }
}

function executionOf(ticketJson: Buffer): string {
  return (JSON.parse(ticketJson.toString()) as { execution_id: string }).execution_id;
}

/** The gate's key under the id of another: what a signature of nobody that the host trusts looks like. */
export function strangerSigner(): Signer {
  return createSigner(Buffer.alloc(32, 7), 'gate-stranger');
}
