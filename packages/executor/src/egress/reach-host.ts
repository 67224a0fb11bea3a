import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FrontPorts, HttpTunnel } from './front.ts';
import {
  describeTarget,
  type HostPort,
  type HttpTarget,
  type HttpTargetResult,
  type RequestHead,
  toHead,
} from './http-head.ts';
import {
  type Asked,
  type OwnResponse,
  type Refusal,
  refusalResponse,
  unreachableResponse,
} from './refusal.ts';
import type { Dialled } from './route.ts';

/** What the two kinds of requests differ in. */
interface RequestKind {
  /** Where it is to go, or why nowhere; `fixed` as `readHttpTarget` has it. */
  readTarget(head: RequestHead, fixed?: HostPort): HttpTargetResult;
  /** Tells the client why it gets no answer of the host. */
  refuse(response: OwnResponse): void;
}

/**
 * Judges a request, says in the log what came of it, and connects to its host; undefined where it was refused. What its head
 * alone decides is refused before this returns: what comes behind it may end the connection.
 */
export async function reachHost(
  request: IncomingMessage,
  tunnel: HttpTunnel | undefined,
  ports: FrontPorts,
  { readTarget, refuse }: RequestKind,
): Promise<{ readonly target: HttpTarget; readonly socket: Socket } | undefined> {
  const head = toHead(request);
  const asked: Asked = {
    protocol: tunnel?.protocol ?? 'http',
    ...describeTarget(head, tunnel?.target),
  };
  const deny = (refusal: Refusal): undefined => {
    ports.log.deny(asked, refusal.reason);
    refuse(refusalResponse(refusal, asked));
  };
  const read = readTarget(head, tunnel?.target);
  if (!read.ok) return deny(read.refusal);
  const way = await openWay(read.target, tunnel, ports);
  if ('refusal' in way) return deny(way.refusal);
  ports.log.allow(asked);
  const dialled = await way.dial();
  if (dialled.ok) return { target: read.target, socket: dialled.socket };
  refuse(unreachableResponse(dialled));
  return undefined;
}

/** How the host of a request is reached, or why it may not be. */
type Way = { readonly dial: () => Promise<Dialled> } | { readonly refusal: Refusal };

// A tunnel's host was judged when the tunnel was made, and that this request is for it just now.
async function openWay(target: HostPort, tunnel: HttpTunnel | undefined, ports: FrontPorts): Promise<Way> {
  if (tunnel !== undefined) return { dial: () => tunnel.dial() };
  const found = await ports.findRoute(target);
  return found.ok ? { dial: () => ports.dial(found.route) } : { refusal: found.refusal };
}
