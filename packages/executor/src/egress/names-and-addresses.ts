import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';

/** Why a text cannot be a host that a request names. */
export type HostProblem = 'ip_literal' | 'bad_name' | 'bad_port';

/** A host's name as it is compared and resolved, or why it is none. */
type HostName =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly problem: HostProblem };

/** A name and a port, or why it is none. */
type Authority =
  | { readonly ok: true; readonly name: string; readonly port: number }
  | { readonly ok: false; readonly problem: HostProblem };

// Letters, digits and hyphen (RFC 1123 §2.1), and the underscore, which names inside of companies do have.
const labelForm = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const longestName = 253;
// Longer than any name can be in any spelling: nothing is computed from it.
const longestText = 1024;
const plainText = /^[\x21-\x7e]+$/;

/**
 * Reads a host's name: case folded, one dot at the end taken off, other letters as A-labels (RFC 5891). IP addresses are
 * no names in any spelling that a resolver would read as one: `0177.1`, `2130706433` and `[::1]` included.
 */
export function parseHostName(text: string): HostName {
  const ascii = toAscii(text);
  if (ascii === undefined) return noName('bad_name');
  if (/[:[\]]/.test(ascii)) return noName('ip_literal');
  const name = ascii.replace(/\.$/, '');
  const labels = name.split('.');
  if (isNumber(labels.at(-1) ?? '')) return noName('ip_literal');
  if (name.length > longestName || !labels.every((part) => labelForm.test(part))) return noName('bad_name');
  return { ok: true, name };
}

/** Reads `NAME` or `NAME:PORT` (RFC 3986 §3.2, without userinfo). Absent `defaultPort`: the port must be there. */
export function parseAuthority(text: string, defaultPort?: number): Authority {
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/.exec(text);
  if (parts === null) return noName(misspelled(text));
  const [, hostText = '', portText] = parts;
  const host = parseHostName(hostText);
  if (!host.ok) return host;
  const port = portText === undefined ? defaultPort : parsePort(portText);
  return port === undefined ? noName('bad_port') : { ok: true, name: host.name, port };
}

function misspelled(text: string): HostProblem {
  if (text.includes('@')) return 'bad_name';
  return /^[^:]*:[^:]*$/.test(text) ? 'bad_port' : 'ip_literal';
}

/** 1 to 65535, without a zero in front; undefined for anything else. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

// The converter also decodes percent signs and reads addresses, so it sees only what has letters beyond ASCII.
function toAscii(text: string): string | undefined {
  if (text === '' || text.length > longestText) return undefined;
  if (plainText.test(text)) return text.toLowerCase();
  if (/[\0-\x20\x7f%/\\?#@<>^|]/.test(text)) return undefined;
  const ascii = domainToASCII(text);
  return ascii === '' || !plainText.test(ascii) ? undefined : ascii.toLowerCase();
}

// What ends in a number is an IPv4 address (URL standard, "ends in a number checker"; inet_aton(3)).
function isNumber(lastLabel: string): boolean {
  return /^(?:\d+|0x[0-9a-f]*)$/.test(lastLabel);
}

function noName(problem: HostProblem): { readonly ok: false; readonly problem: HostProblem } {
  return { ok: false, problem };
}

/** What an address is for. Only `public` ones are dialled without being named. */
export type AddressClass =
  | 'public'
  | 'metadata'
  | 'loopback'
  | 'unspecified'
  | 'link_local'
  | 'private'
  | 'shared'
  | 'multicast'
  | 'broadcast'
  | 'reserved'
  | 'translated';

// The first that holds an address says what it is. IANA's special-purpose registries (RFC 6890) and, first of all, where
// clouds hand out credentials: Amazon, Google, Azure and most others; ECS tasks; EKS pods; Azure's host; Alibaba; Oracle.
const table: readonly (readonly [AddressClass, readonly string[]])[] = [
  ['metadata', ['169.254.169.254/32', '169.254.170.2/32', '169.254.170.23/32', '168.63.129.16/32']],
  ['metadata', ['100.100.100.200/32', '192.0.0.192/32', 'fd00:ec2::/32', 'fd20:ce::254/128']],
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['unspecified', ['0.0.0.0/8', '::/128']],
  ['link_local', ['169.254.0.0/16', 'fe80::/10']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10']],
  ['shared', ['100.64.0.0/10']],
  ['broadcast', ['255.255.255.255/32']],
  ['multicast', ['224.0.0.0/4', 'ff00::/8']],
  ['reserved', ['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15', '198.51.100.0/24']],
  ['reserved', ['203.0.113.0/24', '240.0.0.0/4', '2001:db8::/32', '3fff::/20', '100::/64']],
  // An IPv4 address within: mapped, compatible, translated (RFC 8215 as well), Teredo, 6to4. Where one would lead is
  // another network's business.
  ['translated', ['::ffff:0:0/96', '::/96', '::ffff:0:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48']],
  ['translated', ['2001::/32', '2002::/16']],
  // The rest of the protocol assignments, and all that is no global unicast (RFC 4291 §2.4).
  ['reserved', ['2001::/23', '::/3', '4000::/2', '8000::/1']],
];

const classes = table.map(([kind, ranges]) => [kind, createRangeTest(ranges)] as const);
const isMapped = createRangeTest(['::ffff:0:0/96']);
const isNat64 = createRangeTest(['64:ff9b::/96']);

/**
 * Says what an IPv4 or IPv6 address is for. An IPv4-mapped one is what its IPv4 address is, unless that is public: then it
 * is `translated`, for no resolver has a reason to give it. One of the well-known NAT64 prefix (RFC 6052), which is how
 * networks of IPv6 alone see all others, is what its IPv4 address is. What is no address is `reserved`.
 */
export function classifyAddress(address: string): AddressClass {
  if (familyOf(address) === undefined) return 'reserved';
  if (isMapped(address)) {
    const kind = classifyAddress(embeddedIpv4(address));
    return kind === 'public' ? 'translated' : kind;
  }
  if (isNat64(address)) return classifyAddress(embeddedIpv4(address));
  return classes.find(([, isWithin]) => isWithin(address))?.[0] ?? 'public';
}

/** A test for whether an address lies in a set of ranges. */
export type RangeTest = (address: string) => boolean;

/**
 * A range is an address or `ADDRESS/PREFIX`, known to be valid. IPv4 ranges hold IPv4 addresses and IPv6 ranges IPv6
 * ones: `::/0` says nothing of IPv4.
 */
export function createRangeTest(ranges: readonly string[]): RangeTest {
  // Made with the first address: most runs have no network.
  let lists: ReturnType<typeof toLists> | undefined;
  return (address) => {
    const family = familyOf(address);
    if (family === undefined) return false;
    lists ??= toLists(ranges);
    return lists[family].check(address.replace(/%.*$/, ''), family);
  };
}

function toLists(ranges: readonly string[]) {
  // One list would hold every IPv4 address as an IPv4-mapped one too.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    const family = familyOf(address) ?? 'ipv4';
    lists[family].addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family);
  }
  return lists;
}

/** Which kind of address a text is; undefined where it is none. */
export function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  if (isIPv4(address)) return 'ipv4';
  return isIPv6(address) ? 'ipv6' : undefined;
}

// The last 32 bits, in whichever way they are written: `64:ff9b::1.2.3.4`, `64:ff9b::102:304`, `64:ff9b::`.
function embeddedIpv4(address: string): string {
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, '')}]`);
  const groups = hostname.slice(1, -1).split('::').at(-1)?.split(':').filter(Boolean) ?? [];
  const [high = 0, low = 0] = ['0', '0', ...groups].slice(-2).map((group) => Number.parseInt(group, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
