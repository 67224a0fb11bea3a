import { createHash } from 'node:crypto';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { Webhook } from 'standardwebhooks';
import type { LiveExecution } from '../execution/execution.ts';
import type { WebhookConfig, WebhookEvent } from './config.ts';

/** What one person has said of an execution that waits. */
export interface VerdictTold {
  readonly verdict: 'approve' | 'reject' | 'break_glass';
  readonly approver: string;
  readonly group: string;
  /** Of this verdict alone. */
  readonly approvalId: string;
}

export interface WebhookPorts {
  readonly gateId: string;
  readonly clock: Clock;
  readonly onWarning: (message: LogMessage<'warn'>, details: LogFields) => void;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
  /** Told of each that was taken, or given up. Absent: nobody is. */
  readonly ended?: (outcome: WebhookOutcome) => void;
  /** Milliseconds between two attempts. Absent: from a second on, up to ten minutes. */
  readonly delaysMs?: readonly number[];
}

export type WebhookOutcome = 'delivered' | 'dropped';

/** What is to be told, and to nobody but whom gate.yaml names. */
export interface Webhooks {
  /** To be told of every step of an execution. */
  saw(execution: LiveExecution): void;
  reviewed(execution: LiveExecution, told: VerdictTold): void;
  /** What is not told by then is dropped. */
  close(): void;
}

// A receiver that is away for longer has missed it: what waits is in csc approvals all the same.
const defaultDelaysMs = [1_000, 5_000, 30_000, 120_000, 600_000];
const attemptMs = 10_000;
/** Messages that wait for one receiver; some 700 bytes each. */
export const mostQueued = 200;
/** Executions that are remembered as told of. */
const mostKnown = 10_000;

/**
 * Tells receivers of approvals (standardwebhooks.com): signed, each by itself, later where it must be, and never in the way of
 * anything: a receiver that is dead costs a queue that is bounded. Nothing that a receiver answers changes anything.
 */
export function createWebhooks(hooks: readonly WebhookConfig[], ports: WebhookPorts): Webhooks {
  const receivers = hooks.map((hook) => new Receiver(hook, ports));
  const known = new Set<string>();
  const tell = (type: WebhookEvent, execution: LiveExecution, more: object, of: string): void => {
    const text = JSON.stringify({
      type: `approval.${type}`,
      timestamp: toTimestamp(ports.clock.now()),
      data: { ...factsOf(execution), gate_id: ports.gateId, ...more },
    });
    const id = `msg_${createHash('sha256').update(`${execution.id} ${type} ${of}`).digest('hex').slice(0, 32)}`;
    for (const receiver of receivers) receiver.take(type, { id, text, executionId: execution.id });
  };
  return {
    saw: (execution) => {
      if (execution.row.state !== ExecutionState.AWAITING_APPROVAL) {
        known.delete(execution.id);
        return;
      }
      if (known.has(execution.id) || known.size >= mostKnown) return;
      known.add(execution.id);
      tell('wanted', execution, {}, '');
    },
    reviewed: (execution, { verdict, approver, group, approvalId }) => {
      const types = { approve: 'given', reject: 'rejected', break_glass: 'break_glass' } as const;
      tell(types[verdict], execution, { approver, group }, approvalId);
    },
    close: () => {
      for (const receiver of receivers) receiver.close();
    },
  };
}

// No word of the contract's author, who would speak to people through them, and nothing of what it runs.
function factsOf({ id, row }: LiveExecution): object {
  return {
    execution_id: id,
    contract_sha256: row.contract_sha256,
    principal: row.principal,
    policy_profile: row.policy_profile,
    expires_at: row.decision_expires_at,
  };
}

interface Message {
  readonly id: string;
  readonly text: string;
  readonly executionId: string;
}

class Receiver {
  readonly #hook: WebhookConfig;
  readonly #ports: WebhookPorts;
  readonly #signer: Webhook;
  readonly #queue: Message[] = [];
  readonly #closed = new AbortController();
  #busy = false;
  // The path of the address may be a secret, too. One line in the log for each trouble, however many attempts it takes.
  #troubled = false;

  constructor(hook: WebhookConfig, ports: WebhookPorts) {
    this.#hook = hook;
    this.#ports = ports;
    this.#signer = new Webhook(hook.secret);
  }

  take(type: WebhookEvent, message: Message): void {
    if (!this.#hook.events.includes(type) || this.#closed.signal.aborted) return;
    if (this.#queue.length >= mostQueued) {
      this.#trouble('it does not keep up: what is new is not told');
      this.#ports.ended?.('dropped');
      return;
    }
    this.#queue.push(withLink(message, this.#hook.link));
    if (!this.#busy) void this.#deliverAll();
  }

  close(): void {
    this.#closed.abort();
    this.#queue.length = 0;
  }

  // Never rejects.
  async #deliverAll(): Promise<void> {
    this.#busy = true;
    for (let message = this.#queue[0]; message !== undefined; message = this.#queue[0]) {
      const delivered = await this.#deliver(message);
      if (this.#closed.signal.aborted) break;
      this.#queue.shift();
      this.#ports.ended?.(delivered ? 'delivered' : 'dropped');
    }
    this.#busy = false;
  }

  async #deliver(message: Message): Promise<boolean> {
    for (const delayMs of [...(this.#ports.delaysMs ?? defaultDelaysMs), undefined]) {
      const why = await this.#attempt(message);
      if (this.#closed.signal.aborted) return false;
      if (why === undefined) {
        if (this.#troubled)
          this.#ports.onNotice('a webhook is taken again', { receiver: new URL(this.#hook.url).host });
        this.#troubled = false;
        return true;
      }
      this.#trouble(why);
      if (delayMs !== undefined) await this.#pause(delayMs);
      if (this.#closed.signal.aborted) return false;
    }
    return false;
  }

  /** Undefined once it is taken; else why not. */
  #attempt({ id, text }: Message): Promise<string | undefined> {
    const now = this.#ports.clock.now();
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'user-agent': 'csc-gate',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': this.#signer.sign(id, now, text),
    };
    const { url } = this.#hook;
    const signal = AbortSignal.any([AbortSignal.timeout(attemptMs), this.#closed.signal]);
    return new Promise((resolve) => {
      // Neither follows a redirect, which could lead into the gate's own network.
      const send = url.startsWith('https:') ? tlsRequest : plainRequest;
      const call = send(url, { method: 'POST', headers, signal, agent: false, maxHeaderSize: 8192 });
      call.once('response', (response) => {
        const { statusCode = 0 } = response;
        // Whatever it says beside that is not read.
        response.once('error', () => undefined);
        response.destroy();
        resolve(statusCode >= 200 && statusCode < 300 ? undefined : `it answers ${statusCode}`);
      });
      call.once('error', (error) =>
        resolve(error.name === 'TimeoutError' ? 'it does not answer' : error.message),
      );
      // An answer 101 is neither a response nor an error, and the queue would stand still for ever.
      call.once('close', () => resolve('it hung up without an answer'));
      call.end(text);
    });
  }

  // Nobody waits for a receiver where all else has ended.
  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { ref: false, signal: this.#closed.signal }).catch(() => undefined);
  }

  #trouble(why: string): void {
    if (this.#troubled) return;
    this.#troubled = true;
    this.#ports.onWarning('a webhook is not taken: it is tried again', {
      receiver: new URL(this.#hook.url).host,
      why,
    });
  }
}

// To a page for people of the owner's own; opening it changes nothing here, as there is nothing here that it could ask.
function withLink(message: Message, link: string | undefined): Message {
  if (link === undefined) return message;
  const body = JSON.parse(message.text) as { data: object };
  const data = {
    ...body.data,
    link: link.replaceAll('{execution_id}', encodeURIComponent(message.executionId)),
  };
  return { ...message, text: JSON.stringify({ ...body, data }) };
}
