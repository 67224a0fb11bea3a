import { CscError, guarded } from '@csc-fleet/common/errors';
import { logPieceBytes } from '@csc-fleet/common/output-log';
import {
  fromServiceError,
  messagePrefixBytes,
  PushOutputRequest,
  type PushOutputResponse,
  type Wire,
  wireOfClientCall,
  writeMessagePrefix,
} from '@csc-fleet/common/rpc';
import { Signal } from '@csc-fleet/common/service';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { OutputSink } from '../output/index.ts';
import type { Line } from './line.ts';

type Call = ClientDuplexStream<PushOutputRequest, PushOutputResponse>;

interface Waiter {
  /** What the gate must hold for it. */
  readonly length: number;
  resolve(committed: number): void;
  reject(error: unknown): void;
}

export interface GrpcOutputOptions {
  /** How long the gate may take to say how much it holds, in milliseconds; then the connection is given up for a new one. */
  readonly answerMs: number;
  /** Where messages of a call may be written past grpc-js; undefined: nowhere. */
  readonly findWire?: typeof wireOfClientCall;
}

/** Pushes output logs over gRPC, one stream an execution, each until it has ended or the line is closed. */
export function createGrpcOutput(
  line: Line,
  { answerMs, findWire = wireOfClientCall }: GrpcOutputOptions,
): OutputSink {
  const uploads = new Map<string, Upload>();
  const memory = new MessageMemory();
  return {
    committedLength(executionId) {
      uploads.get(executionId)?.end();
      const { client } = line;
      const upload = new Upload(line.track(client.pushOutput()), memory, findWire);
      uploads.set(executionId, upload);
      return upload.begin(executionId, answerMs, () => line.giveUp(client));
    },
    append(executionId, logOffset, frames) {
      const upload = uploads.get(executionId);
      if (upload === undefined)
        return Promise.reject(new CscError('GATE_UNREACHABLE', 'the upload has not begun'));
      return upload.append(logOffset, frames);
    },
    memory: (executionId) => uploads.get(executionId)?.lend(),
    room: (executionId) => uploads.get(executionId)?.room(),
    finish(executionId) {
      uploads.get(executionId)?.end();
      uploads.delete(executionId);
    },
  };
}

// Messages of one log that may wait in the transport: beyond that the gate, or the network, does not take them.
const mostWaiting = 4;

class Upload {
  readonly #call: Call;
  readonly #memory: MessageMemory;
  readonly #findWire: typeof wireOfClientCall;
  readonly #taken = new Signal();
  #waiters: Waiter[] = [];
  /** Messages that were written past gRPC and that the transport still has. */
  #written = 0;
  #wire: Wire | undefined;
  /** For the next message: its frames are being read into it, or nothing is. */
  #lent: Buffer | undefined;
  #failure: CscError | undefined;

  constructor(call: Call, memory: MessageMemory, findWire: typeof wireOfClientCall) {
    this.#call = call;
    this.#memory = memory;
    this.#findWire = findWire;
    const take = ({ committedLength }: PushOutputResponse): void => this.#committed(committedLength);
    const onData = guarded(take, (error) => {
      this.#fail(fromServiceError(error));
      call.cancel();
    });
    call.on('data', onData);
    call.on('error', (error: unknown) => this.#fail(fromServiceError(error)));
    call.on('end', () => this.#fail(new CscError('GATE_UNREACHABLE', 'the gate ended the upload')));
  }

  /** The first answer says where to begin, so anything is enough. */
  begin(executionId: string, answerMs: number, giveUp: () => void): Promise<number> {
    const late = setTimeout(() => {
      giveUp();
      this.#fail(new CscError('GATE_UNREACHABLE', `the gate did not answer within ${answerMs / 1000} s`));
      this.#call.cancel();
    }, answerMs).unref();
    const answer = this.#send({ executionId, logOffset: 0, frames: Buffer.alloc(0) }, 0);
    return answer.finally(() => clearTimeout(late));
  }

  append(logOffset: number, frames: Uint8Array): Promise<number> {
    this.#wire ??= this.#findWire(this.#call);
    if (this.#wire !== undefined) return this.#write(this.#wire, logOffset, frames);
    // Encoded later, when whoever gave them may have put others into their place.
    return this.#send({ executionId: '', logOffset, frames: Buffer.from(frames) }, logOffset + frames.length);
  }

  /** Where the frames of the next message may be put. */
  lend(): Buffer {
    this.#lent ??= this.#memory.take(messageBytes);
    return this.#lent.subarray(mostHead);
  }

  /** Resolves once a message may be sent; undefined where it may be now. Also resolves where the call has failed. */
  room(): Promise<void> | undefined {
    const waiting = this.#call.writableLength + this.#written;
    if (this.#failure !== undefined || waiting < mostWaiting) return undefined;
    return this.#taken.wait();
  }

  end(): void {
    if (this.#lent !== undefined) this.#memory.giveBack(this.#lent);
    this.#lent = undefined;
    this.#call.end();
  }

  #send(message: PushOutputRequest, length: number): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const held = this.#held(length);
    this.#call.write(message, () => this.#taken.ring());
    return held;
  }

  // In one piece and in memory that is used again: through gRPC it would be copied twice, into memory of its own.
  #write(wire: Wire, logOffset: number, frames: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const memory = this.#memoryOf(frames);
    const head = encodeHead(logOffset, frames.length);
    const begin = mostHead - head.length - messagePrefixBytes;
    writeMessagePrefix(memory.subarray(begin), head.length + frames.length);
    memory.set(head, begin + messagePrefixBytes);
    this.#written += 1;
    wire.write(memory.subarray(begin, mostHead + frames.length), (error) => {
      this.#written -= 1;
      // What could not be written may still be somewhere on its way, a part of it; why it could not, the call says. Of a
      // stream that is destroyed, Node says that it was written, whatever became of it.
      if ((error === undefined || error === null) && !wire.destroyed) this.#memory.giveBack(memory);
      this.#taken.ring();
    });
    return this.#held(logOffset + frames.length);
  }

  /** Where they lie behind room for a head: what was lent, or a copy. */
  #memoryOf(frames: Uint8Array): Buffer {
    const lent = this.#lent;
    if (
      lent !== undefined &&
      frames.buffer === lent.buffer &&
      frames.byteOffset === lent.byteOffset + mostHead
    ) {
      this.#lent = undefined;
      return lent;
    }
    const memory = this.#memory.take(mostHead + frames.length);
    memory.set(frames, mostHead);
    return memory;
  }

  /** Once the gate holds so much. */
  #held(length: number): Promise<number> {
    return new Promise((resolve, reject) => this.#waiters.push({ length, resolve, reject }));
  }

  #committed(committed: number): void {
    const waiting = this.#waiters;
    this.#waiters = waiting.filter(({ length }) => length > committed);
    for (const { length, resolve } of waiting) if (length <= committed) resolve(committed);
  }

  #fail(error: CscError): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiters.splice(0)) reject(this.#failure);
    this.#taken.ring();
  }
}

/** A PushOutputRequest up to the first byte of its `frames`, which come last. */
function encodeHead(logOffset: number, framesLength: number): Uint8Array {
  const rest = PushOutputRequest.encode({ executionId: '', logOffset, frames: Buffer.alloc(0) }).finish();
  const tag = [framesTag];
  let length = framesLength;
  for (; length > 0x7f; length >>>= 7) tag.push((length & 0x7f) | 0x80);
  return Buffer.from([...rest, ...tag, length]);
}

// Field 3, with a length.
const framesTag = 0x1a;

// What goes before the frames of a message at most: five bytes of gRPC, a tag and 64 bits of offset, a tag and their length.
const mostHead = 32;
// A piece of a log as the uplink reads it, with all that goes before it.
const messageBytes = mostHead + logPieceBytes;
const mostSpare = 2 * mostWaiting;

/**
 * Memory for messages, of all uploads together: what the transport has taken is written into again. Fresh memory for each of them
 * would be given back only when V8 collects.
 */
class MessageMemory {
  readonly #spare: Buffer[] = [];

  /** At least so many bytes, whatever is in them. */
  take(bytes: number): Buffer {
    if (bytes > messageBytes) return Buffer.allocUnsafeSlow(bytes);
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(messageBytes);
  }

  /** Once, and only when nobody reads it any more. */
  giveBack(memory: Buffer): void {
    if (memory.length === messageBytes && this.#spare.length < mostSpare) this.#spare.push(memory);
  }
}
