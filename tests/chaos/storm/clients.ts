// A process of clients: several principals, who run contracts until they are told to finish (SIGTERM), and then ask for
// the end of each once more, by its key alone.
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type GateClient, isCscError, type RunOptions, type RunResult } from '@csc-fleet/client';
import type { ClientsConfig, Ended, Entry, Failed } from './ledger.ts';
import { contractOf, type Work, workOf } from './work.ts';

const config: ClientsConfig = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));

// How long a call that ends with an error is made again with the same key.
const patienceMs = 120_000;
const pauseMs = 100;

const over = new AbortController();
process.once('SIGTERM', () => over.abort());

class Caller {
  readonly #principal: string;
  readonly #client: GateClient;
  readonly #keys: string[] = [];

  constructor(principal: string) {
    this.#principal = principal;
    const tls = config.tls[principal];
    if (tls === undefined) throw new Error(`there is no certificate of ${principal}`);
    this.#client = connect({ address: config.address, tls, connectTimeout: 10_000 });
  }

  async storm(): Promise<void> {
    await Promise.all(Array.from({ length: config.width }, (_, lane) => this.#lane(lane)));
  }

  async askAgain(): Promise<void> {
    const lanes = Array.from({ length: config.width }, async (_, lane) => {
      for (const key of this.#keys.filter((_key, index) => index % config.width === lane))
        await this.#toReceipt(workOf(key), 'asked again', {});
    });
    await Promise.all(lanes);
    this.#client.close();
  }

  async #lane(lane: number): Promise<void> {
    for (let index = 0; !over.signal.aborted; index++) {
      const key = `${config.seed}-${config.name}-${this.#principal}-${lane}-${index}`;
      this.#keys.push(key);
      await this.#do(workOf(key));
      await sleep(pauseMs);
    }
  }

  async #do(work: Work): Promise<void> {
    if (work.manner === 'twice') {
      const both = [1, 2].map(() => this.#toReceipt(work, 'in the storm', {}));
      await Promise.all(both);
      return;
    }
    if (work.manner === 'leaves') {
      // Midway, or before it has begun: the run goes on, and its end is found by its key.
      const signal = AbortSignal.timeout(work.pauseMs);
      await this.#attempt(work, 'in the storm', { signal, cancelOnAbort: false });
    }
    await this.#toReceipt(work, 'in the storm', {});
  }

  /** Again with the same key, as long as there is an error and time. */
  async #toReceipt(work: Work, when: Entry['when'], options: RunOptions): Promise<void> {
    const until = performance.now() + patienceMs;
    while (!(await this.#attempt(work, when, options)) && performance.now() < until) await sleep(500);
  }

  /** True where it ended with a receipt. */
  async #attempt(work: Work, when: Entry['when'], options: RunOptions): Promise<boolean> {
    const beganMs = Date.now();
    const received = new Received(work, when);
    let executionId: string | undefined;
    let toCancel: NodeJS.Timeout | undefined;
    const end = await this.#client
      .run(contractOf(work, config.place), {
        ...options,
        idempotencyKey: work.key,
        handlers: {
          onStdout: (data) => received.take('stdout', data),
          onStderr: (data) => received.take('stderr', data),
          onEvent: (event) => {
            executionId = event.executionId;
            if (event.type === 'started' && work.manner === 'cancels')
              toCancel ??= setTimeout(() => void this.#cancel(event.executionId), 200);
          },
        },
      })
      .then((result) => received.conclude(result))
      .catch((error: unknown) => toFailed(error, executionId));
    clearTimeout(toCancel);
    const { key, manner } = work;
    write({ key, manner, principal: this.#principal, when, beganMs, endedMs: Date.now(), end });
    return end.kind === 'receipt';
  }

  // Until it has arrived: one that is lost on the way would leave the run to its timeout.
  async #cancel(executionId: string): Promise<void> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const done = await this.#client.cancel(executionId, { gracePeriodMs: 0 }).catch(() => undefined);
      if (done !== undefined) return;
      await sleep(500);
    }
  }
}

/** What came of a run's output, held against what it must be. */
class Received {
  readonly #work: Work;
  readonly #isSlow: boolean;
  readonly #bytes = { stdout: 0, stderr: 0 };
  #wrong = '';

  constructor(work: Work, when: Entry['when']) {
    this.#work = work;
    this.#isSlow = work.manner === 'reads slowly' && when === 'in the storm';
  }

  async take(stream: 'stdout' | 'stderr', data: Buffer): Promise<void> {
    const at = this.#bytes[stream];
    if (!this.#work[stream].subarray(at, at + data.length).equals(data))
      this.#wrong ||= `${stream} is wrong in ${data.length} bytes from ${at} on`;
    this.#bytes[stream] += data.length;
    if (this.#isSlow) await sleep(50);
  }

  conclude({ executionId, receipt, receiptJson, execution, contradiction }: RunResult): Ended | Failed {
    if (receipt === undefined || !('ended' in receipt)) {
      const message = `no receipt of v0.2: ${execution.state} ${execution.error}`;
      return { kind: 'error', executionId, code: 'NO_RECEIPT', message, idempotencyKey: this.#work.key };
    }
    const { stdout, stderr } = this.#bytes;
    const isWhole = stdout === this.#work.stdout.length && stderr === this.#work.stderr.length;
    if (receipt.ended === 'exit' && !isWhole) this.#wrong ||= `${stdout} and ${stderr} bytes came`;
    if (contradiction !== undefined) this.#wrong ||= `the gate says: ${contradiction}`;
    return {
      kind: 'receipt',
      executionId,
      status: receipt.status,
      ended: receipt.ended,
      exitCode: receipt.exit_code,
      error: receipt.error ?? '',
      signedBy: receipt.executor_id ?? 'the gate',
      receiptSha256: createHash('sha256').update(receiptJson).digest('hex'),
      stdoutBytes: stdout,
      stderrBytes: stderr,
      wrong: this.#wrong,
    };
  }
}

function toFailed(error: unknown, executionId: string | undefined): Failed {
  if (!isCscError(error))
    return { kind: 'error', executionId, code: 'NOT_CSC', message: String(error), idempotencyKey: undefined };
  const { code, message, idempotencyKey } = error;
  return { kind: 'error', executionId, code, message, idempotencyKey };
}

function write(entry: Entry): void {
  appendFileSync(config.ledger, `${JSON.stringify(entry)}\n`);
}

const callers = Object.keys(config.tls).map((principal) => new Caller(principal));
await Promise.all(callers.map((it) => it.storm()));
process.send?.('stormed');
await new Promise((resolve) => process.once('message', resolve));
await Promise.all(callers.map((it) => it.askAgain()));
process.disconnect?.();
