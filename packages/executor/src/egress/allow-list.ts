import { CscError, type Fault, formatFaults } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/members';
import { type AddressClass, classifyAddress, createRangeTest, type RangeTest } from './addresses.ts';
import { type EgressEntry, namesLocalhost, parseEgressEntry } from './egress-entry.ts';

/** Where commands may connect to. Names are as `parseHostName` gives them. */
export interface AllowList {
  /** Whether every list has the name with this port. Asked before a name is resolved. */
  allows(name: string, port: number): boolean;
  /** Whether every list also lets a ClientHello for it be encrypted, so that its server name says nothing. */
  allowsEch(name: string, port: number): boolean;
  /** Why a name that is allowed may not lead to this address; undefined where it may. */
  findAddressProblem(name: string, address: string): Exclude<AddressClass, 'public'> | undefined;
}

const defaultPorts: readonly number[] = [80, 443];

/**
 * Joins lists (the policy's, the ceiling's): only what each of them allows is allowed, so with one that is empty nothing
 * is. Throws CONFIG_INVALID for an entry that cannot be read: who wrote it meant to allow something else.
 */
export function createAllowList(lists: readonly (readonly EgressHost[])[]): AllowList {
  const members = parseLists(lists).map(createSingleList);
  return {
    allows: (name, port) => members.length > 0 && members.every((list) => list.allows(name, port)),
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

function parseLists(lists: readonly (readonly EgressHost[])[]): EgressEntry[][] {
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
