import {
  CscError,
  type Fault,
  faulty,
  formatFaults,
  type Parsed,
  parsed,
  quoteBriefly,
} from '@csc-fleet/common/errors';
import { type EgressHost, egressHostText } from '@csc-fleet/common/schema';
import {
  type AddressClass,
  classifyAddress,
  createRangeTest,
  familyOf,
  parseAuthority,
  parseHostName,
  type RangeTest,
} from './names-and-addresses.ts';

/** Where commands may connect to. Names are as `parseHostName` gives them. */
export interface AllowList {
  /** Whether every list has the name with this port. Asked before a name is resolved. */
  allows(name: string, port: number): boolean;
  /** Whether every list lets it speak whatever it likes there: nothing but the name that it asks for is judged. */
  allowsTcp(name: string, port: number): boolean;
  /** Whether every list also lets a ClientHello for it be encrypted, so that its server name says nothing. */
  allowsEch(name: string, port: number): boolean;
  /** Why a name that is allowed may not lead to this address; undefined where it may. */
  findAddressProblem(name: string, address: string): Exclude<AddressClass, 'public'> | undefined;
}

const defaultPorts: readonly number[] = [80, 443];

/** As `toAllowList`, from lists as they are written. Throws CONFIG_INVALID for an entry that cannot be read. */
export function createAllowList(lists: readonly (readonly EgressHost[])[]): AllowList {
  return toAllowList(parseEgressLists(lists));
}

/** Joins lists (the policy's, the ceiling's): only what each of them allows is allowed, so with one that is empty nothing is. */
export function toAllowList(lists: readonly (readonly EgressEntry[])[]): AllowList {
  const members = lists.map(createSingleList);
  return {
    allows: (name, port) => members.length > 0 && members.every((list) => list.allows(name, port)),
    allowsTcp: (name, port) => members.length > 0 && members.every((list) => list.allowsTcp(name, port)),
    allowsEch: (name, port) => members.length > 0 && members.every((list) => list.allowsEch(name, port)),
    findAddressProblem(name, address) {
      const kind = classifyAddress(address);
      if (kind === 'public') return undefined;
      return members.length > 0 && members.every((list) => list.leadsTo(name, address, kind))
        ? undefined
        : kind;
    },
  };
}

interface SingleList {
  allows(name: string, port: number): boolean;
  allowsTcp(name: string, port: number): boolean;
  allowsEch(name: string, port: number): boolean;
  leadsTo(name: string, address: string, kind: AddressClass): boolean;
}

function createSingleList(entries: readonly EgressEntry[]): SingleList {
  const inRange: RangeTest = createRangeTest(
    entries.flatMap((entry) => (entry.kind === 'range' ? [entry.range] : [])),
  );
  const hasLocalhost = entries.some(namesLocalhost);
  return {
    allows: (name, port) => entries.some((entry) => matches(entry, name, port)),
    allowsTcp: (name, port) =>
      entries.some((entry) => entry.kind === 'name' && entry.tcp === true && matches(entry, name, port)),
    allowsEch: (name, port) =>
      entries.some((entry) => entry.kind === 'name' && entry.ech && matches(entry, name, port)),
    leadsTo: (name, address, kind) =>
      inRange(address) || (name === 'localhost' && kind === 'loopback' && hasLocalhost),
  };
}

function matches(entry: EgressEntry, name: string, port: number): boolean {
  if (entry.kind !== 'name') return false;
  if (entry.port === undefined ? !defaultPorts.includes(port) : entry.port !== port) return false;
  return entry.below ? name.endsWith(`.${entry.name}`) : name === entry.name;
}

/** Throws CONFIG_INVALID for an entry that cannot be read: who wrote it meant to allow something else. */
export function parseEgressLists(lists: readonly (readonly EgressHost[])[]): EgressEntry[][] {
  const faults: Fault[] = [];
  const entries = lists.map((list) =>
    list.flatMap((host) => {
      const entry = parseEgressEntry(host);
      if (entry.ok) return [entry.value];
      faults.push(...entry.faults);
      return [];
    }),
  );
  if (faults.length === 0) return entries;
  const message = `where commands may connect to cannot be read:\n${formatFaults(faults)}`;
  throw new CscError('CONFIG_INVALID', message, { faults });
}

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
      /** Any protocol may be spoken there, TLS and HTTP included, and nobody looks at it. Absent: those two alone. */
      readonly tcp?: true;
    }
  | {
      /** Where listed names may lead although it is no public address. Nothing can be asked for by its address. */
      readonly kind: 'range';
      /** `ADDRESS/PREFIX`. */
      readonly range: string;
    };

const entryForm =
  'must be NAME, NAME:PORT, NAME:tcp:PORT, the same with *.NAME, an IP address or a CIDR block';

/**
 * Reads an entry of `allowed_egress_hosts` or of a ceiling's `egress_hosts`. It takes all that the v0.2 schema does and,
 * as v0.1 policies hold any text, names with other letters or with a dot at the end as well.
 */
export function parseEgressEntry(host: EgressHost): Parsed<EgressEntry> {
  const text = egressHostText(host);
  const ech = typeof host !== 'string' && host.ech === 'allow';
  const range = parseRange(text);
  if (range !== undefined) return ech ? unreadableEntry(text) : range;
  const below = text.startsWith('*.');
  const rest = below ? text.slice(2) : text;
  if (!rest.includes(':')) {
    const name = parseHostName(rest);
    return name.ok ? parsed({ kind: 'name', name: name.name, below, ech }) : unreadableEntry(text);
  }
  const isTcp = /:tcp:\d+$/.test(rest);
  const authority = parseAuthority(isTcp ? rest.replace(/:tcp:(\d+)$/, ':$1') : rest);
  if (!authority.ok || (isTcp && ech)) return unreadableEntry(text);
  return parsed({
    kind: 'name',
    name: authority.name,
    below,
    port: authority.port,
    ech,
    ...(isTcp ? { tcp: true } : {}),
  });
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
  if (!isPrefix || rest.length > 0 || /[%]|:.*\./.test(address)) return unreadableEntry(text);
  return parsed({ kind: 'range', range: `${address}/${prefix ?? most}` });
}

function unreadableEntry(text: string): Parsed<EgressEntry> {
  return faulty(`${entryForm}, which ${quoteBriefly(text)} is not`);
}
