import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type LogFields, type LogMessage, Signal } from '@csc-fleet/common/service';
import {
  cosignatureToleranceMs,
  formatAddCheckpoint,
  formatNote,
  type NoteKey,
  type NoteSignature,
  parseNote,
  parseSignatureLine,
  vouchersOf,
} from '@csc-fleet/common/tlog';
import type { Published, ReceiptLog } from './receipt-log.ts';

/** A witness that is asked for cosignatures. */
export interface WitnessAddress {
  /** Its submission prefix: what `/add-checkpoint` is put behind. */
  readonly url: string;
  readonly key: NoteKey;
}

/** A checkpoint with the cosignatures that it got. */
export interface Cosigned extends Published {
  readonly cosigners: number;
}

export interface CosigningPorts {
  readonly log: Pick<ReceiptLog, 'current' | 'published' | 'consistency' | 'keepCosigned'>;
  readonly witnesses: readonly WitnessAddress[];
  readonly onWarning: (message: LogMessage<'warn'>, details: LogFields) => void;
  readonly clock: Clock;
  /** How old a cosignature of the newest checkpoint may become before it is asked for anew, in milliseconds. Default: an hour. */
  readonly renewMs?: number;
}

const timeoutMs = 5_000;
const paceMs = 250;
// Of witnesses that did not answer, while nothing new comes.
const retryMs = 30_000;
const maxAnswerBytes = 16 * 1024;
// Who demands witnesses takes none that is older than a day: that of a log to which nothing comes is renewed long before.
const defaultRenewMs = 60 * 60_000;

/**
 * Has checkpoints cosigned, one after the other and all witnesses at once, beside everything else: no run and no receipt waits
 * for a witness.
 */
export class Cosigning {
  readonly #ports: CosigningPorts;
  readonly #stopping = new AbortController();
  readonly #done = new Signal();
  /** What each witness has cosigned last, as far as it has said so. */
  readonly #sizes = new Map<WitnessAddress, number>();
  /** The newest cosignature of each, and of how many entries. */
  readonly #lines = new Map<WitnessAddress, { readonly size: number; readonly line: NoteSignature }>();
  /** Those that were warned of, until they answer well again. */
  readonly #failing = new Map<WitnessAddress, string>();
  #cosigned: Cosigned | undefined;
  /** When, in milliseconds since the epoch. */
  #cosignedAt = 0;
  #tried: Published | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(ports: CosigningPorts) {
    this.#ports = ports;
  }

  /** The newest that has any. */
  get cosigned(): Cosigned | undefined {
    return this.#cosigned;
  }

  /** The newest that all witnesses were asked for, whatever they said. */
  get tried(): Published | undefined {
    return this.#tried;
  }

  /** Witnesses that do not cosign now, by name, and why, for people. */
  get failing(): readonly { readonly name: string; readonly why: string }[] {
    return [...this.#failing].map(([{ key }, why]) => ({ name: key.name, why }));
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves when the witnesses were asked once more, or as `abort` fires. */
  next(abort: AbortSignal): Promise<void> {
    return this.#done.wait(abort);
  }

  async #run(): Promise<void> {
    const { log } = this.#ports;
    const { signal } = this.#stopping;
    const pause = (ms: number, end = signal) => delay(ms, undefined, { signal: end }).catch(() => undefined);
    while (!signal.aborted) {
      const over = new AbortController();
      const until = AbortSignal.any([signal, over.signal]);
      const more = log.published(until);
      const { current } = log;
      if (current !== undefined && (current.size !== this.#cosigned?.size || this.#isDueAgain()))
        await this.#round(current);
      await pause(paceMs);
      const isNew = log.current?.size !== current?.size;
      if (!isNew) {
        const waitMs = this.#failing.size > 0 ? Math.min(retryMs, this.#renewMs) : this.#renewMs;
        await Promise.race([more, pause(waitMs, until)]);
      }
      over.abort();
    }
  }

  get #renewMs(): number {
    return this.#ports.renewMs ?? defaultRenewMs;
  }

  #isDueAgain(): boolean {
    const ageMs = this.#ports.clock.now().getTime() - this.#cosignedAt;
    return this.#failing.size > 0 || ageMs >= this.#renewMs || ageMs < 0;
  }

  async #round(current: Published): Promise<void> {
    const { witnesses } = this.#ports;
    const answered = await Promise.all(witnesses.map((it) => this.#ask(it, current)));
    // Who does not answer this time may have cosigned the same tree before.
    const lines = witnesses.flatMap((it) => {
      const own = this.#lines.get(it);
      return own?.size === current.size ? [own.line] : [];
    });
    this.#tried = current;
    if (answered.some((it) => it)) await this.#keep(current, lines);
    this.#done.ring();
  }

  async #keep(current: Published, lines: readonly NoteSignature[]): Promise<void> {
    const note = orThrow(parseNote(Buffer.from(current.note)), 'INTERNAL', 'our own checkpoint');
    const signatures = [...note.signatures, ...lines];
    const cosigned = { ...current, note: formatNote({ ...note, signatures }), cosigners: lines.length };
    // Who demands witnesses has it all the same where that fails: only copies of the files are without it.
    await this.#ports.log.keepCosigned(cosigned.note).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#ports.onWarning('what witnesses have cosigned is not kept beside the log', { why });
    });
    this.#cosigned = cosigned;
    this.#cosignedAt = this.#ports.clock.now().getTime();
  }

  // Whether it has cosigned it.
  async #ask(witness: WitnessAddress, current: Published): Promise<boolean> {
    try {
      const line = await this.#cosign(witness, current, this.#sizes.get(witness) ?? 0);
      this.#lines.set(witness, { size: current.size, line });
      this.#failing.delete(witness);
      return true;
    } catch (error) {
      const isNew = !this.#failing.has(witness);
      const why = error instanceof Error ? error.message : String(error);
      this.#failing.set(witness, why);
      if (isNew && !this.#stopping.signal.aborted)
        this.#ports.onWarning('a witness does not cosign the log', { witness: witness.key.name, why });
      return false;
    }
  }

  async #cosign(
    witness: WitnessAddress,
    current: Published,
    oldSize: number,
    again = true,
  ): Promise<NoteSignature> {
    const { size, note } = current;
    const proof = await this.#ports.log.consistency(oldSize, size);
    const body = formatAddCheckpoint({ oldSize, proof, checkpoint: Buffer.from(note) });
    const answer = await post(
      `${witness.url.replace(/\/$/, '')}/add-checkpoint`,
      body,
      this.#stopping.signal,
    );
    if (answer.status === 409 && again && /^(0|[1-9]\d{0,15})\n$/.test(answer.body)) {
      const theirs = Number(answer.body);
      if (theirs > size)
        throw new CscError(
          'LOG_INVALID',
          `it has seen ${theirs} entries, and this log has ${size}: was it set back?`,
        );
      if (theirs !== oldSize) {
        this.#sizes.set(witness, theirs);
        return this.#cosign(witness, current, theirs, false);
      }
    }
    if (answer.status !== 200) throw refusedWith(answer, current.size);
    this.#sizes.set(witness, size);
    return cosignatureIn(answer.body, note, witness.key, this.#ports.clock.now());
  }
}

// What the statuses of tlog-witness mean where they stay, in words.
function refusedWith(
  { status, body }: { readonly status: number; readonly body: string },
  size: number,
): CscError {
  const said = body.slice(0, 200).trim();
  const words: Readonly<Record<number, string>> = {
    403: 'its log key for this log is another than ours: tell its operator the vkey',
    404: 'it does not know this log: tell its operator the vkey',
    409: `it has cosigned ${said} entries of a log of our key that are not ours, and we have ${size}: was our data set back, or does another gate have our key?`,
    422: 'what it has cosigned is not the beginning of our log: was our data set back, or does another gate have our key?',
  };
  const known = words[status];
  const answers = `it answers ${status}: ${said}`;
  return new CscError('LOG_INVALID', known === undefined ? answers : `${known} (${answers})`);
}

// Theirs alone: others may be beside it.
function cosignatureIn(body: string, note: string, key: NoteKey, now: Date): NoteSignature {
  const { text } = orThrow(parseNote(Buffer.from(note)), 'INTERNAL', 'our own checkpoint');
  const lines = body.split('\n').flatMap((line) => parseSignatureLine(line) ?? []);
  for (const line of lines) {
    const [voucher] = vouchersOf({ text, signatures: [line] }, [key]);
    if (voucher === undefined) continue;
    const aheadMs = Number(voucher.seconds ?? 0n) * 1000 - now.getTime();
    if (Math.abs(aheadMs) <= cosignatureToleranceMs) return line;
    const off = `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead' : 'behind'}`;
    throw new CscError(
      'LOG_INVALID',
      `its clock is ${off} of this one: one of the two is wrong, and who demands it does not count it`,
    );
  }
  throw new CscError('LOG_INVALID', 'its answer has no signature with its pinned key');
}

function post(
  url: string,
  body: Buffer,
  stopping: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]);
  return new Promise((resolve, reject) => {
    const call = request(
      url,
      { method: 'POST', signal, headers: { 'Content-Type': 'text/plain', 'Content-Length': body.length } },
      (response) => {
        call.off('close', hungUp);
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          length += part.length;
          if (length > maxAnswerBytes) call.destroy(new Error('its answer is too long'));
          else parts.push(part);
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() }),
        );
        response.on('error', reject);
      },
    );
    // An answer 101 is neither a response nor an error, and all witnesses would be waited for.
    const hungUp = (): void => reject(new Error('it hung up without an answer'));
    call.once('close', hungUp);
    call.on('error', reject);
    call.end(body);
  });
}
