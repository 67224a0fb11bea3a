import { CscError, guarded } from '@csc-fleet/common/errors';
import {
  type ExecutorLinkClient,
  fromServiceError,
  type PushOutputRequest,
  type PushOutputResponse,
} from '@csc-fleet/common/rpc';
import { Signal } from '@csc-fleet/common/service';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { OutputSink } from '../output/index.ts';

type Call = ClientDuplexStream<PushOutputRequest, PushOutputResponse>;

interface Waiter {
  /** What the gate must hold for it. */
  readonly length: number;
  resolve(committed: number): void;
  reject(error: unknown): void;
}

/** An OutputSink behind gRPC. */
export interface GrpcOutput extends OutputSink {
  /** Cancels what is under way. */
  close(): void;
}

/** Pushes output logs over gRPC, one stream an execution. */
export function createGrpcOutput(client: ExecutorLinkClient): GrpcOutput {
  const uploads = new Map<string, Upload>();
  return {
    close() {
      for (const upload of uploads.values()) upload.cancel();
    },
    committedLength(executionId) {
      uploads.get(executionId)?.end();
      const upload = new Upload(client.pushOutput());
      uploads.set(executionId, upload);
      return upload.begin(executionId);
    },
    append(executionId, logOffset, frames) {
      const upload = uploads.get(executionId);
      if (upload === undefined)
        return Promise.reject(new CscError('GATE_UNREACHABLE', 'the upload has not begun'));
      return upload.append(logOffset, frames);
    },
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
  readonly #taken = new Signal();
  #waiters: Waiter[] = [];
  #failure: CscError | undefined;

  constructor(call: Call) {
    this.#call = call;
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
  begin(executionId: string): Promise<number> {
    return this.#send({ executionId, logOffset: 0, frames: Buffer.alloc(0) }, 0);
  }

  append(logOffset: number, frames: Uint8Array): Promise<number> {
    return this.#send({ executionId: '', logOffset, frames: toBuffer(frames) }, logOffset + frames.length);
  }

  /** Resolves once a message may be sent; undefined where it may be now. Also resolves where the call has failed. */
  room(): Promise<void> | undefined {
    if (this.#failure !== undefined || this.#call.writableLength < mostWaiting) return undefined;
    return this.#taken.wait();
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  #send(message: PushOutputRequest, length: number): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ length, resolve, reject });
      this.#call.write(message, () => this.#taken.ring());
    });
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

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
