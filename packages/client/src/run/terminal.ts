import { setTimeout as sleep } from 'node:timers/promises';
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { isCscError } from '@csc-fleet/common/errors';
import { GateService, type TerminalFrame } from '@csc-fleet/common/rpc';
import {
  inputOf,
  maxFrameInput,
  maxFramesAtOnce,
  maxInputAtOnce,
  signFrame,
} from '@csc-fleet/common/terminal';
import type { Connection } from '../connection/connection.ts';

/** Columns and rows. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Who may type into the terminal of an execution: keep it as a key is kept, to type again from another process. */
export interface TerminalClaim {
  readonly executionId: string;
  /** As the host knows the run: the nonce of its submission, or the hash of its contract. */
  readonly run: string;
  /** The private half of the input key, 32 bytes. */
  readonly seed: Uint8Array;
}

/** Types into the terminal of an execution. */
export interface TerminalInput {
  /** With which another process can go on. */
  readonly claim: TerminalClaim;
  /** Resolves once there is room for more; what is written after the end goes nowhere. */
  write(bytes: Uint8Array): Promise<void>;
  resize(size: TerminalSize): void;
  /** Resolves once all that was written has been typed, or nothing more can be. */
  settled(): Promise<void>;
  /** Resolves once nothing more can be typed, with why; with undefined where `close` has ended it. */
  readonly ended: Promise<string | undefined>;
  /** Stops. What runs goes on. */
  close(): void;
}

/** A key for one run. */
export function createInputKey(): { readonly seed: Uint8Array; readonly publicKey: Uint8Array } {
  const { seed, publicKey } = generateKeyPair();
  return { seed, publicKey };
}

/** Gives input to the execution of a claim, from where its host stands. */
export function openTerminalInput(connection: Connection, claim: TerminalClaim): TerminalInput {
  return new SignedInput(connection, claim);
}

// What may wait here for the host.
const mostWaiting = 64 * 1024;
// So that keys that come one by one share a call.
const gatherMs = 8;
const retryMs = 500;

interface Bell {
  readonly rung: Promise<void>;
  ring(): void;
}

function createBell(): Bell {
  let ring = (): void => {};
  const rung = new Promise<void>((resolve) => {
    ring = resolve;
  });
  return { rung, ring: () => ring() };
}

type Kind = NonNullable<TerminalFrame['kind']>;

class SignedInput implements TerminalInput {
  readonly claim: TerminalClaim;
  readonly ended: Promise<string | undefined>;
  readonly #connection: Connection;
  readonly #signer: Signer;
  readonly #closing = new AbortController();
  readonly #roomWanted: (() => void)[] = [];
  readonly #settling: (() => void)[] = [];
  #wake = createBell();
  #waiting: Kind[] = [];
  #waitingBytes = 0;
  /** Signed, and not known to be taken. */
  #sent: TerminalFrame[] = [];
  #isOver = false;

  constructor(connection: Connection, claim: TerminalClaim) {
    this.claim = claim;
    this.#connection = connection;
    this.#signer = createSigner(claim.seed, 'terminal-input');
    this.ended = this.#run().finally(() => this.#finish());
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += maxFrameInput)
      this.#add({ $case: 'input', value: Buffer.from(bytes.subarray(at, at + maxFrameInput)) });
    if (this.#waitingBytes > mostWaiting && !this.#isOver)
      await new Promise<void>((resolve) => this.#roomWanted.push(resolve));
  }

  async settled(): Promise<void> {
    if (this.#isOver || (this.#sent.length === 0 && this.#waiting.length === 0)) return;
    await new Promise<void>((resolve) => this.#settling.push(resolve));
  }

  resize({ columns, rows }: TerminalSize): void {
    const last = this.#waiting.at(-1);
    // Of sizes that come one upon the other the last counts.
    if (last?.$case === 'resize') this.#waiting.pop();
    this.#add({ $case: 'resize', value: { columns, rows } });
  }

  close(): void {
    this.#closing.abort();
    this.#wake.ring();
  }

  #add(kind: Kind): void {
    if (this.#isOver) return;
    const last = this.#waiting.at(-1);
    const [before, now] = [last && inputOf({ kind: last }), inputOf({ kind })];
    if (before !== undefined && now !== undefined && before.length + now.length <= maxFrameInput)
      this.#waiting[this.#waiting.length - 1] = { $case: 'input', value: Buffer.concat([before, now]) };
    else this.#waiting.push(kind);
    this.#waitingBytes += now?.length ?? 0;
    this.#wake.ring();
  }

  async #run(): Promise<string | undefined> {
    // How far it has come: an earlier process may have typed.
    let taken = await this.#ask([]);
    while (taken !== undefined && taken.ended === '') {
      this.#sent = this.#sent.filter(({ sequence }) => sequence > (taken?.sequence ?? 0));
      if (this.#sent.length === 0) {
        if (this.#waiting.length === 0) for (const resolve of this.#settling.splice(0)) resolve();
        await this.#next(taken.sequence);
      }
      if (this.#closing.signal.aborted) return undefined;
      taken = await this.#ask(this.#sent);
    }
    return taken?.ended;
  }

  async #next(sequence: number): Promise<void> {
    if (this.#waiting.length === 0) await this.#wake.rung;
    this.#wake = createBell();
    await sleep(gatherMs);
    let bytes = 0;
    while (this.#waiting.length > 0 && this.#sent.length < maxFramesAtOnce) {
      const [kind] = this.#waiting;
      if (kind === undefined) break;
      const { length } = inputOf({ kind }) ?? { length: 0 };
      if (bytes + length > maxInputAtOnce) break;
      bytes += length;
      this.#waiting.shift();
      const frame = { sequence: sequence + this.#sent.length + 1, kind };
      this.#sent.push(signFrame(frame, this.claim.run, (message) => this.#signer.sign(message)));
    }
    this.#waitingBytes -= bytes;
    if (this.#waiting.length > 0) this.#wake.ring();
    if (this.#waitingBytes <= mostWaiting) for (const resolve of this.#roomWanted.splice(0)) resolve();
  }

  /** Undefined where it was closed meanwhile. The same once more until there is an answer: nothing is typed twice. */
  async #ask(
    frames: TerminalFrame[],
  ): Promise<{ readonly sequence: number; readonly ended: string } | undefined> {
    const { executionId } = this.claim;
    const { signal } = this.#closing;
    for (;;) {
      try {
        return await this.#connection.unary(GateService.sendInput, { executionId, frames }, signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        const comesBack = isCscError(error, 'TERMINAL_UNAVAILABLE') || isCscError(error, 'GATE_UNREACHABLE');
        if (!comesBack && !isCscError(error, 'RATE_LIMITED'))
          return { sequence: 0, ended: error instanceof Error ? error.message : String(error) };
        const waitMs = isCscError(error) ? (error.retryAfterMs ?? retryMs) : retryMs;
        await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #finish(): void {
    this.#isOver = true;
    this.#waiting = [];
    for (const resolve of [...this.#roomWanted.splice(0), ...this.#settling.splice(0)]) resolve();
  }
}
