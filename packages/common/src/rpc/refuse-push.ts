import { subscribe } from 'node:diagnostics_channel';
import type { ClientHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';

const isOurs = Symbol('push is refused here');

/**
 * Has no server push anything over this connection (RFC 9113 §8.4). grpc-js leaves that open, nobody takes what is pushed, and nghttp2
 * bounds neither its number nor its time: with 40 bytes for each, a server takes a gigabyte of its client within seconds.
 * To be called before HTTP/2 begins on it. Does nothing where Node tells nobody of streams that begin, as Node 20.
 */
export function refusePush(socket: TLSSocket): void {
  begin();
  Object.assign(socket, { [isOurs]: true });
}

let hasBegun = false;
const seen = new WeakSet<object>();

function begin(): void {
  if (hasBegun) return;
  hasBegun = true;
  // grpc-js has no option for this, nor anything that leads to a session before its first stream, which is ours: until then a
  // server has nothing to promise a response to.
  subscribe('http2.client.stream.start', (message) => {
    const { session } = (message as { readonly stream: { readonly session?: ClientHttp2Session } }).stream;
    if (session === undefined || seen.has(session)) return;
    seen.add(session);
    if (Reflect.get(session.socket, isOurs) === true) session.settings({ enablePush: false });
  });
}
