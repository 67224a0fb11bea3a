import { BlockList, isIP } from 'node:net';
import type { Policy } from '../policy/index.ts';
import { type EgressHost, egressHostText } from '../schema/index.ts';
import type { Doubt } from './doubt.ts';

/** Where an allowlisted command may connect to that it could not, by one entry each. */
export function findEgressDoubts(
  { allowed_egress_hosts: old }: Pick<Policy, 'allowed_egress_hosts'>,
  { allowed_egress_hosts: now }: Pick<Policy, 'allowed_egress_hosts'>,
): Doubt[] {
  return now
    .filter((entry) => !old.some((other) => coversEgress(other, entry)))
    .map((entry) => {
      const text = egressHostText(entry);
      const ech = hasEch(entry) ? ', with an encrypted ClientHello' : '';
      return {
        about: `allowed_egress_hosts ${text}`,
        gives: `a way to ${text}${ech}`,
        tries: [{ command: { network: 'allowlisted' } }],
      };
    });
}

function hasEch(entry: EgressHost): boolean {
  return typeof entry !== 'string' && entry.ech === 'allow';
}

/** Whether an entry lets through all that another does. */
export function coversEgress(outer: EgressHost, inner: EgressHost): boolean {
  const [o, i] = [egressHostText(outer), egressHostText(inner)].map((it) =>
    it.toLowerCase().replace(/\.$/, ''),
  );
  if (o === undefined || i === undefined || (hasEch(inner) && !hasEch(outer))) return false;
  if (o === i) return true;
  const [range, other] = [parseRange(o), parseRange(i)];
  if (range !== undefined || other !== undefined)
    return range !== undefined && other !== undefined && isWithin(range, other);
  return coversPlace(parsePlace(o), parsePlace(i));
}

interface Place {
  readonly name: string;
  readonly below: boolean;
  readonly tcp: boolean;
  readonly ports: readonly number[];
}

function parsePlace(text: string): Place {
  const [, star, name = text, tcp, port] = /^(\*\.)?([^:]*)(?::(tcp:)?(\d+))?$/.exec(text) ?? [];
  return {
    name,
    below: star !== undefined,
    tcp: tcp !== undefined,
    ports: port === undefined ? [80, 443] : [Number(port)],
  };
}

// Where any protocol may be spoken, TLS and HTTP may.
function coversPlace(outer: Place, inner: Place): boolean {
  if ((inner.tcp && !outer.tcp) || !inner.ports.every((it) => outer.ports.includes(it))) return false;
  if (!outer.below) return !inner.below && inner.name === outer.name;
  return inner.name.endsWith(`.${outer.name}`) || (inner.below && inner.name === outer.name);
}

interface Range {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly prefix: number;
}

function parseRange(text: string): Range | undefined {
  const [address = '', prefix] = text.split('/');
  const family = isIP(address);
  if (family === 0) return undefined;
  const most = family === 4 ? 32 : 128;
  return {
    address,
    family: family === 4 ? 'ipv4' : 'ipv6',
    prefix: prefix === undefined ? most : Number(prefix),
  };
}

function isWithin(outer: Range, inner: Range): boolean {
  const list = new BlockList();
  list.addSubnet(outer.address, outer.prefix, outer.family);
  return (
    outer.family === inner.family && inner.prefix >= outer.prefix && list.check(inner.address, inner.family)
  );
}
