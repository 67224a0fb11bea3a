import type { AddressClass } from './addresses.ts';
import type { HostProblem } from './host-name.ts';

/** Why a request got no further. Receipts and the header `X-CSC-Egress` have these words. */
export type DenialReason =
  | HostProblem
  | 'not_listed'
  | 'forbidden_address'
  | 'unresolvable'
  | 'sni_mismatch'
  | 'no_sni'
  | 'not_tls'
  | 'malformed_tls'
  | 'host_mismatch'
  | 'bad_request'
  | 'header_too_long'
  | 'bad_scheme'
  | 'ambiguous_length'
  | 'upgrade'
  | 'socks_command'
  | 'socks_authentication'
  | 'incomplete'
  | 'too_many_connections'
  | 'ech'
  | 'internal_error';

/** A request that is denied: what was wrong with it and, in a sentence for people, what to do. */
export interface Refusal {
  readonly reason: DenialReason;
  /** Of one line, without anything that the requester wrote. */
  readonly message: string;
}

const messages: Readonly<Record<DenialReason, string>> = {
  ip_literal: 'requests must name a host, not an address: list a name, and the address as where it may lead',
  bad_name: 'this is no host name',
  bad_port: 'the port must be 1 to 65535',
  not_listed:
    "the policy's allowed_egress_hosts and the host ceiling's egress_hosts must both have this name and port",
  forbidden_address: 'the name leads to an address that is not public',
  unresolvable: 'the name could not be resolved',
  sni_mismatch: 'the TLS server name differs from the host that was asked for',
  no_sni: 'the TLS ClientHello has no server name',
  not_tls: 'a tunnel must carry TLS',
  malformed_tls: 'the TLS ClientHello could not be read',
  host_mismatch: 'the Host header differs from the host that was asked for',
  bad_request: 'this is no request that a proxy can take',
  header_too_long: 'the head of the request is too long',
  bad_scheme: 'ask for http:// by its absolute URI and for everything else with CONNECT',
  ambiguous_length: 'where the body ends must be said once, by Content-Length or by chunked',
  upgrade: 'connections are not upgraded',
  socks_command: 'of SOCKS5 there is CONNECT alone',
  socks_authentication: 'SOCKS5 clients must offer to go without authentication',
  incomplete: 'the connection ended, or was silent for too long, before it had said what it wants',
  too_many_connections: 'too many connections are open at once',
  ech: 'the TLS ClientHello is encrypted (ECH), so that where it leads cannot be seen: turn ECH off in the client, or have both lists say `ech: allow` of this host',
  internal_error: 'the proxy itself failed at this connection',
};

/** A refusal in its own words. */
export function refuse(reason: DenialReason): Refusal {
  return { reason, message: messages[reason] };
}

/** A refusal of what a name leads to. */
export function refuseAddress(kind: Exclude<AddressClass, 'public'>): Refusal {
  const what = `${kind === 'unspecified' ? 'an' : 'a'} ${kind.replace('_', '-')} address`;
  const remedy = 'both lists must name that address, or a range around it';
  return { reason: 'forbidden_address', message: `the name leads to ${what}: ${remedy}` };
}
