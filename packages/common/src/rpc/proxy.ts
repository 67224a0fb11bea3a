import { BlockList, isIP, type Socket } from 'node:net';
import { ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';
import { CscError, quoteBriefly } from '../errors/index.ts';

/** How a gate is reached: what gRPC's stubs are made with, and what to call it in an error. */
export interface GateChannel {
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  /** `the gate at ADDRESS cannot be reached`, with the proxy and the variable that names it. */
  readonly unreachable: string;
  /** What to do where that is not wanted; empty without a proxy. */
  readonly advice: string;
}

/** The variables by which gRPC has its proxies named; the first that is set counts. */
const variables = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;
const exceptions = ['no_grpc_proxy', 'no_proxy', 'NO_PROXY'] as const;

/**
 * The way to a gate from a host whose environment may name a proxy for all that leaves it. A gate on this host, and one
 * that `no_proxy` names, is dialled directly; otherwise the proxy is asked to CONNECT (RFC 9110 §9.3.6). grpc-js would do
 * neither the first nor say in an error that there is a proxy. Throws CONFIG_INVALID for a proxy that cannot be used.
 */
export function channelTo(
  address: string,
  credentials: ChannelCredentials,
  options: ChannelOptions,
  env: NodeJS.ProcessEnv = process.env,
): GateChannel {
  const direct = { ...options, 'grpc.enable_http_proxy': 0 };
  const place = parsePlace(address);
  const proxy = place === undefined ? undefined : findProxy(place, env);
  if (place === undefined || proxy === undefined) {
    const tried =
      place === undefined || place.isPortGiven
        ? address
        : `${address}, port ${defaultPort} as none was given,`;
    const unreachable = `the gate at ${tried} cannot be reached`;
    return { address, credentials, options: direct, unreachable, advice: '' };
  }
  const target = place.host.includes(':') ? `[${place.host}]:${place.port}` : `${place.host}:${place.port}`;
  return {
    address: proxy.address,
    credentials: new ProxiedCredentials(credentials, target, proxy),
    options: { ...direct, 'grpc.default_authority': target },
    unreachable: `the gate at ${address} cannot be reached through the proxy http://${proxy.address}, which the variable ${proxy.variable} names`,
    advice: `; where it is to be reached directly, name it in no_proxy: no_proxy=${place.host}`,
  };
}

interface Place {
  readonly host: string;
  readonly port: string;
  readonly isPortGiven: boolean;
}

// gRPC's default port.
const defaultPort = '443';

/** Undefined for what is no host's, as a socket's path. */
function parsePlace(address: string): Place | undefined {
  if (/^(?:unix|ipv4|ipv6|xds)/.test(address) && address.includes(':/')) return undefined;
  const text = address.replace(/^dns:(?:\/\/[^/]*\/)?/, '');
  const [, bracketed, name, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? name ?? (isIP(text) === 6 ? text : undefined);
  if (host === undefined) return undefined;
  return { host: host.toLowerCase(), port: port ?? defaultPort, isPortGiven: port !== undefined };
}

interface Proxy {
  readonly variable: string;
  /** `HOST:PORT`. */
  readonly address: string;
  /** Of the Proxy-Authorization header. */
  readonly authorization?: string;
}

function findProxy(place: Place, env: NodeJS.ProcessEnv): Proxy | undefined {
  const variable = variables.find((name) => env[name]);
  if (variable === undefined || isLoopback(place.host) || isExcepted(place, env)) return undefined;
  const value = env[variable] ?? '';
  const url = parseUrl(value.includes('://') ? value : `http://${value}`);
  if (url === undefined || url.protocol !== 'http:' || url.hostname === '') {
    const found = url === undefined ? 'is no URL' : `is of the kind ${quoteBriefly(url.protocol)}`;
    throw new CscError(
      'CONFIG_INVALID',
      `the variable ${variable}, by which the gate at ${place.host} would be reached through a proxy, ${found}: it must be http://HOST:PORT; or name the gate in no_proxy: no_proxy=${place.host}`,
    );
  }
  const { hostname, port, username, password } = url;
  const found = { variable, address: `${hostname}:${port === '' ? '80' : port}` };
  if (username === '') return found;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { ...found, authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

function isLoopback(host: string): boolean {
  return (
    host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(?:\.\d+){3}$/.test(host)
  );
}

// As curl and Go read it: names and what is below them, with or without a dot before; addresses, ranges; a port after it.
function isExcepted({ host, port }: Place, env: NodeJS.ProcessEnv): boolean {
  const name = exceptions.find((it) => env[it]);
  const entries = (name === undefined ? '' : (env[name] ?? '')).toLowerCase().split(/[\s,]+/);
  return entries.filter(Boolean).some((entry) => {
    if (entry === '*') return true;
    const [, text = entry, onlyPort] = /^(.*[^:]):(\d+)$/.exec(isIP(entry) === 6 ? '' : entry) ?? [];
    if (onlyPort !== undefined && onlyPort !== port) return false;
    const plain = text.replace(/^\[(.*)\]$/, '$1').replace(/^\*?\./, '');
    return host === plain || isInRange(host, plain) || (isIP(host) === 0 && host.endsWith(`.${plain}`));
  });
}

function isInRange(host: string, range: string): boolean {
  const [base = '', bits = ''] = range.split('/');
  const family = isIP(base);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(bits), type);
  return list.check(host, type);
}

type ConnectorArguments = Parameters<ChannelCredentials['_createSecureConnector']>;
type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** Credentials of which each connection goes through a proxy first. */
class ProxiedCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #target: string;
  readonly #proxy: Proxy;

  constructor(inner: ChannelCredentials, target: string, proxy: Proxy) {
    super();
    this.#inner = inner;
    this.#target = target;
    this.#proxy = proxy;
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return (
      other instanceof ProxiedCredentials &&
      other.#target === this.#target &&
      other.#proxy.address === this.#proxy.address &&
      other.#inner._equals(this.#inner)
    );
  }

  override _createSecureConnector(...[, options, callCredentials]: ConnectorArguments): Connector {
    const target = { scheme: 'dns', path: this.#target };
    const inner = this.#inner._createSecureConnector(target, options, callCredentials);
    return {
      connect: async (socket) => {
        await askForTunnel(socket, this.#target, this.#proxy);
        return inner.connect(socket);
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }
}

const maxAnswerBytes = 16 * 1024;
const answerMs = 20_000;

/** Rejects with what the proxy answered, where that is not that the tunnel is there. */
async function askForTunnel(socket: Socket, target: string, { authorization }: Proxy): Promise<void> {
  const auth = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}\r\n`);
  const head = await readAnswer(socket);
  const [, status = ''] = /^HTTP\/1\.[01] (\d{3})/.exec(head) ?? [];
  if (status.startsWith('2')) return;
  const why = status === '407' ? 'it asks for other credentials (407)' : `it answers ${status || 'no HTTP'}`;
  throw new Error(`the proxy does not connect to ${target}: ${why}`);
}

function readAnswer(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = Buffer.alloc(0);
    const end = (error?: Error): void => {
      clearTimeout(late);
      socket.off('data', onData).off('error', end).off('close', onClose).pause();
      if (error === undefined) resolve(heard.toString('latin1'));
      else reject(error);
    };
    const late = setTimeout(() => end(new Error('the proxy does not answer')), answerMs);
    const onClose = (): void => end(new Error('the proxy ended the connection'));
    const onData = (data: Buffer): void => {
      heard = Buffer.concat([heard, data]);
      const at = heard.indexOf('\r\n\r\n');
      if (at < 0 && heard.length < maxAnswerBytes) return;
      // What comes after it is the gate's already.
      if (at >= 0 && heard.length > at + 4) socket.unshift(heard.subarray(at + 4));
      end(at < 0 ? new Error('the proxy answers too much') : undefined);
    };
    socket.on('data', onData).on('error', end).on('close', onClose);
  });
}
