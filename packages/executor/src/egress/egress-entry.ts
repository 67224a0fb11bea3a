import { faulty, type Parsed, parsed, quoteBriefly } from '@csc-fleet/common/errors';
import { type EgressHost, egressHostText } from '@csc-fleet/common/members';
import { familyOf } from './addresses.ts';
import { parseAuthority, parseHostName } from './host-name.ts';

/** One line of a list of where a command may connect to. */
export type EgressEntry =
  | {
      readonly kind: 'name';
      readonly name: string;
      /** True for `*.NAME`: all names below it, in any depth, and not itself. */
      readonly below: boolean;
      /** Absent: 80 and 443. */
      readonly port?: number;
      /** A ClientHello for it may be encrypted. */
      readonly ech: boolean;
    }
  | {
      /** Where listed names may lead although it is no public address. Nothing can be asked for by its address. */
      readonly kind: 'range';
      /** `ADDRESS/PREFIX`. */
      readonly range: string;
    };

const form = 'must be NAME, NAME:PORT, *.NAME, *.NAME:PORT, an IP address or a CIDR block';

/**
 * Reads an entry of `allowed_egress_hosts` or of a ceiling's `egress_hosts`. It takes all that the v0.2 schema does and,
 * as v0.1 policies hold any text, names with other letters or with a dot at the end as well.
 */
export function parseEgressEntry(host: EgressHost): Parsed<EgressEntry> {
  const text = egressHostText(host);
  const ech = typeof host !== 'string' && host.ech === 'allow';
  const range = parseRange(text);
  if (range !== undefined) return ech ? refused(text) : range;
  const below = text.startsWith('*.');
  const rest = below ? text.slice(2) : text;
  if (!rest.includes(':')) {
    const name = parseHostName(rest);
    return name.ok ? parsed({ kind: 'name', name: name.name, below, ech }) : refused(text);
  }
  const authority = parseAuthority(rest);
  if (!authority.ok) return refused(text);
  return parsed({ kind: 'name', name: authority.name, below, port: authority.port, ech });
}

/** Whether an entry is for this host itself: `localhost`, with or without a port. */
export function namesLocalhost(entry: EgressEntry): boolean {
  return entry.kind === 'name' && entry.name === 'localhost' && !entry.below;
}

function parseRange(text: string): Parsed<EgressEntry> | undefined {
  const [address = '', prefix, ...rest] = text.split('/');
  const family = familyOf(address);
  if (family === undefined) return undefined;
  const most = family === 'ipv4' ? 32 : 128;
  const isPrefix = prefix === undefined || (/^(?:0|[1-9]\d{0,2})$/.test(prefix) && Number(prefix) <= most);
  // An IPv4-mapped block would read as one that says nothing of IPv4.
  if (!isPrefix || rest.length > 0 || /[%]|:.*\./.test(address)) return refused(text);
  return parsed({ kind: 'range', range: `${address}/${prefix ?? most}` });
}

function refused(text: string): Parsed<EgressEntry> {
  return faulty(`${form}, which ${quoteBriefly(text)} is not`);
}
