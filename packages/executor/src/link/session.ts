import {
  type ConnectResponse,
  type Duration,
  type Hello,
  type Offer,
  toMilliseconds,
} from '@csc-fleet/common/messages';
import type { Outbox, Send } from './outbox.ts';

/** One connection to the gate, from the executor's side. */
export interface LinkConnection {
  readonly isOpen: boolean;
  receive(message: ConnectResponse): void;
  /** The connection is gone: nothing more is sent over it. */
  closed(): void;
}

/** What the gate can ask for over the link. */
export interface LinkHandlers {
  /** The gate is there and has heard our Hello. */
  welcomed(): void;
  offered(offer: Offer): void;
  cancelled(executionId: string, graceMs: number): void;
  acknowledged(executionId: string): void;
  draining(): void;
  /** Executions under way, for the heartbeat. */
  running(): number;
}

const defaultHeartbeatMs = 10_000;
const shortestHeartbeatMs = 100;
/** What a job gets between SIGTERM and SIGKILL when the gate says nothing of it. */
const defaultGraceMs = 5_000;
const longestGraceMs = 60_000;

/** Says Hello and handles what comes back. What must not be lost waits in the outbox until the gate's Welcome. */
export function openSession(
  hello: Hello,
  send: Send,
  outbox: Outbox,
  handlers: LinkHandlers,
): LinkConnection {
  let heartbeat: NodeJS.Timeout | undefined;
  let open = true;

  function welcome(interval: Duration | undefined): void {
    const every = heartbeatMs(interval);
    clearInterval(heartbeat);
    heartbeat = setInterval(() => send(heartbeatMessage(handlers)), every);
    heartbeat.unref();
    outbox.open(send);
    handlers.welcomed();
  }

  outbox.forgetRefusals();
  send({ message: { $case: 'hello', value: hello } });
  return {
    get isOpen() {
      return open;
    },
    receive({ message }) {
      if (!open || message === undefined) return;
      if (message.$case === 'welcome') welcome(message.value.heartbeatInterval);
      else dispatch(message, handlers);
    },
    closed() {
      if (!open) return;
      open = false;
      clearInterval(heartbeat);
      outbox.close();
    },
  };
}

function heartbeatMessage(handlers: LinkHandlers): Parameters<Send>[0] {
  return { message: { $case: 'heartbeat', value: { running: handlers.running() } } };
}

function dispatch(message: NonNullable<ConnectResponse['message']>, handlers: LinkHandlers): void {
  if (message.$case === 'offer') handlers.offered(message.value);
  if (message.$case === 'cancel') {
    handlers.cancelled(message.value.executionId, graceOf(message.value.gracePeriod));
  }
  if (message.$case === 'receiptAck') handlers.acknowledged(message.value.executionId);
  if (message.$case === 'drain') handlers.draining();
}

/** How often a heartbeat is due. */
export function heartbeatMs(interval: Duration | undefined): number {
  return interval === undefined
    ? defaultHeartbeatMs
    : Math.max(toMilliseconds(interval), shortestHeartbeatMs);
}

function graceOf(period: Duration | undefined): number {
  return period === undefined
    ? defaultGraceMs
    : Math.min(Math.max(toMilliseconds(period), 0), longestGraceMs);
}
