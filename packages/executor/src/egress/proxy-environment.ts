import type { EgressHost } from '@csc-fleet/common/members';
import { namesLocalhost, parseEgressEntry } from './egress-entry.ts';

/** Where the proxy listens in every sandbox: each has a network of its own. */
export const proxyPort = 3128;

/**
 * The variables that lead programs to the proxy, in both spellings. With NODE_USE_ENV_PROXY Node's own clients look at
 * them too.
 * @param lists who may be asked for. `localhost` is the sandbox itself and asked for directly, unless a list has it:
 *   there it is this host. Absent: everything goes to the proxy
 */
export function proxyEnvironment(
  port: number,
  lists?: readonly (readonly EgressHost[])[],
): Record<string, string> {
  const http = `http://127.0.0.1:${port}`;
  // With `h` the proxy resolves names: in the sandbox nobody can.
  const socks = `socks5h://127.0.0.1:${port}`;
  const direct = lists === undefined || lists.flat().some(isLocalhost) ? '' : 'localhost,127.0.0.1,::1';
  return {
    HTTP_PROXY: http,
    HTTPS_PROXY: http,
    ALL_PROXY: socks,
    NO_PROXY: direct,
    http_proxy: http,
    https_proxy: http,
    all_proxy: socks,
    no_proxy: direct,
    NODE_USE_ENV_PROXY: '1',
  };
}

function isLocalhost(host: EgressHost): boolean {
  const entry = parseEgressEntry(host);
  return entry.ok && namesLocalhost(entry.value);
}
