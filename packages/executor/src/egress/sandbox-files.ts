import type { EgressHost } from '@csc-fleet/common/schema';
import type { MadeUpFile } from '@csc-fleet/sandbox/plan';
import { parseEgressEntry } from './allow-list.ts';

// Nothing that a contract declares can be there (`closedTrees` of the sandbox).
const preloadPath = '/run/csc/node-proxy.cjs';
const connectPath = '/run/csc/connect';

/** What Node.js has to be told so that it reads the preload; behind what it is told already. */
export function nodeOptions(before = ''): string {
  return `${before} --require=${preloadPath}`.trim();
}

/**
 * The files that lead programs to the proxy which no variable does: releases of Node.js before NODE_USE_ENV_PROXY and,
 * where every list has a `NAME:tcp:PORT`, what speaks neither TLS nor HTTP.
 * @param port where the proxy listens in the sandbox
 */
export function proxyFiles(port: number, lists: readonly (readonly EgressHost[])[]): MadeUpFile[] {
  const preload = { destination: preloadPath, mode: 0o444, content: nodePreload };
  if (!lists.every((list) => list.some(isTcp))) return [preload];
  return [
    preload,
    { destination: connectPath, mode: 0o555, content: connectHelper(port) },
    { destination: '/etc/ssh/ssh_config', mode: 0o444, content: sshConfig },
  ];
}

function isTcp(host: EgressHost): boolean {
  const entry = parseEgressEntry(host);
  return entry.ok && entry.value.kind === 'name' && entry.value.tcp === true;
}

// So that git over SSH needs no option, and no argv with a program in it.
const sshConfig = `Host *
    ProxyCommand ${connectPath} %h %p
`;

/**
 * \`connect HOST PORT\`: a connection by name, on standard input and output, as ssh's ProxyCommand and others want it. In
 * Perl, which every Debian has; two processes, so that neither direction waits for the other.
 */
function connectHelper(port: number): string {
  return `#!/usr/bin/perl
use strict;
use warnings;
use Socket qw(AF_INET SOCK_STREAM pack_sockaddr_in inet_aton);
my ($host, $port) = @ARGV;
die "usage: connect HOST PORT, as in ssh -o ProxyCommand='${connectPath} %h %p'\\n"
  unless @ARGV == 2 && length $host && length $host < 256 && $port =~ /\\A[0-9]{1,5}\\z/ && $port < 65536;
my %why = (
  2 => "is refused: the policy's allowed_egress_hosts and the host ceiling's egress_hosts must both list it as NAME:tcp:PORT",
  4 => 'could not be resolved, or did not answer in time',
  5 => 'took no connection',
);
socket(my $proxy, AF_INET, SOCK_STREAM, 0) or die "csc connect: $!\\n";
connect($proxy, pack_sockaddr_in(${port}, inet_aton('127.0.0.1'))) or die "csc connect: this sandbox has no proxy: $!\\n";
sub put {
  my ($to, $bytes) = @_;
  for (my $at = 0; $at < length $bytes;) {
    my $count = syswrite($to, $bytes, length($bytes) - $at, $at);
    defined $count or exit 1;
    $at += $count;
  }
}
sub take {
  my ($length) = @_;
  my $bytes = '';
  while (length $bytes < $length) {
    sysread($proxy, $bytes, $length - length $bytes, length $bytes) or die "csc connect: the proxy ended the connection\\n";
  }
  return $bytes;
}
sub pass {
  my ($from, $to) = @_;
  my $bytes;
  put($to, $bytes) while sysread($from, $bytes, 65536);
}
put($proxy, "\\5\\1\\0");
take(2) eq "\\5\\0" or die "csc connect: the proxy wants something else\\n";
put($proxy, "\\5\\1\\0\\3" . chr(length $host) . $host . pack('n', $port));
my $code = ord substr take(10), 1, 1;
die "csc connect: $host:$port " . ($why{$code} // "failed ($code)") . "\\n" if $code != 0;
my $child = fork;
defined $child or die "csc connect: $!\\n";
if ($child == 0) {
  pass(\\*STDIN, $proxy);
  shutdown($proxy, 1);
  exit 0;
}
close STDIN;
pass($proxy, \\*STDOUT);
kill 'TERM', $child;
exit 0;
`;
}

/**
 * For \`node --require\`: what NODE_USE_ENV_PROXY does in Node.js 22.21, 24.5 and later, for those that do not know it. The
 * global agents of http and https, and fetch, ask the proxy for a tunnel. Plain CommonJS for any release; where there is
 * nothing to do, it is one look. fetch is prepared at its first call, as loading it takes time.
 */
const nodePreload = `'use strict';
(() => {
  const env = process.env;
  const flags = process.allowedNodeEnvironmentFlags;
  if (env.NODE_USE_ENV_PROXY === '1' && flags && flags.has('--use-env-proxy')) return;
  const proxy = /^http:\\/\\/([^/:@]+):(\\d+)\\/?$/.exec(env.HTTP_PROXY || '');
  if (proxy === null) return;
  const net = require('net');
  const tls = require('tls');
  const direct = (env.NO_PROXY || '').split(',').map((name) => name.trim().toLowerCase()).filter(Boolean);
  const isDirect = (host) =>
    direct.some((name) => name === '*' || name === host || host.endsWith(name[0] === '.' ? name : '.' + name));
  const open = (host, port, done) => {
    const authority = (net.isIPv6(host) ? '[' + host + ']' : host) + ':' + port;
    const socket = net.connect({ host: proxy[1], port: Number(proxy[2]) });
    let head = Buffer.alloc(0);
    const finish = (error, rest) => {
      socket.removeListener('data', onData);
      for (const name of ['error', 'end', 'close']) socket.removeListener(name, onEnd);
      if (error) {
        socket.on('error', () => undefined).destroy();
        return done(error);
      }
      socket.pause();
      if (rest.length > 0) socket.unshift(rest);
      done(null, socket);
    };
    const refused = () => {
      const text = head.toString('latin1');
      const body = text.slice(text.indexOf('\\r\\n\\r\\n') + 4).trim();
      return Object.assign(new Error(body || 'the proxy ended the connection to ' + authority), { code: 'ECONNREFUSED' });
    };
    const onEnd = (error) => finish(error instanceof Error ? error : refused());
    const onData = (chunk) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\\r\\n\\r\\n');
      if (end < 0 ? head.length > 65536 : /^HTTP\\/1\\.1 200 /.test(head.toString('latin1', 0, 13)))
        finish(end < 0 ? refused() : null, head.slice(end + 4));
    };
    socket.on('data', onData);
    for (const name of ['error', 'end', 'close']) socket.on(name, onEnd);
    socket.write('CONNECT ' + authority + ' HTTP/1.1\\r\\nHost: ' + authority + '\\r\\n\\r\\n');
  };
  const secure = (socket, host, options) =>
    tls.connect(Object.assign({}, options, {
      socket,
      servername: options.servername || (net.isIP(host) ? '' : host),
    }));
  for (const scheme of ['http', 'https']) {
    const agent = require(scheme).globalAgent;
    const create = agent.createConnection;
    agent.createConnection = function (options, done) {
      const host = String(options.host || 'localhost').toLowerCase();
      if (options.socketPath || isDirect(host)) return create.apply(this, arguments);
      open(host, options.port, (error, socket) => {
        if (error) return done(error);
        done(null, scheme === 'http' ? socket : secure(socket, host, options));
        // It was paused, and http takes it as it is; nothing comes before the request.
        if (scheme === 'http') setImmediate(() => socket.resume());
      });
    };
  }
  if (typeof fetch !== 'function') return;
  const connect = (options, done) => {
    const host = options.hostname.replace(/^\\[|\\]$/g, '').toLowerCase();
    const isSecure = options.protocol === 'https:';
    const port = Number(options.port) || (isSecure ? 443 : 80);
    const ready = (error, socket) => {
      if (error || !isSecure) return done(error, socket);
      const wanted = { ALPNProtocols: ['http/1.1'], servername: options.servername };
      const over = secure(socket, host, wanted);
      const settle = (problem) => {
        over.removeListener('secureConnect', settle).removeListener('error', settle);
        done(problem || null, problem ? undefined : over);
      };
      over.once('secureConnect', settle).once('error', settle);
    };
    if (!isDirect(host)) return open(host, port, ready);
    const socket = net.connect({ host, port });
    const settle = (problem) => {
      socket.removeListener('connect', settle).removeListener('error', settle);
      ready(problem || null, socket);
    };
    socket.once('connect', settle).once('error', settle);
  };
  const dispatcher = Symbol.for('undici.globalDispatcher.1');
  let isPrepared = false;
  const prepare = () => {
    isPrepared = true;
    // A dispatcher that the program chose is its own business.
    if (globalThis[dispatcher] !== undefined) return;
    new Response();
    const Agent = globalThis[dispatcher] && globalThis[dispatcher].constructor;
    if (Agent) globalThis[dispatcher] = new Agent({ connect });
  };
  const own = globalThis.fetch;
  globalThis.fetch = function fetch(input, init) {
    if (!isPrepared) prepare();
    return own.call(this, input, init);
  };
})();
`;
