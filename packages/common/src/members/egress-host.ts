import * as z from 'zod';

const label = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const port = '[1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5]';
// A last label that is a number makes a name an IPv4 address to many resolvers (inet_aton(3)): 0x7f.1 is 127.0.0.1.
const notNumeric = '(?!(?:\\d+|0[xX][0-9A-Fa-f]*)(?::|$))';
const named = new RegExp(
  `^(?:\\*\\.)?(?=[^:]{1,253}(?::|$))(?:${label}\\.)*${notNumeric}${label}(?::(?:${port}))?$`,
);
const { ipv4, ipv6, cidrv4, cidrv6 } = z.regexes;
const shapes = [named, ipv4, ipv6, cidrv4, cidrv6];

/**
 * Where a command may connect to: `name`, `*.name` (any depth below it, not itself), either with `:port` behind it, an
 * IP address or a CIDR block. Names are compared without regard to case; a name of other than ASCII letters is written
 * in its A-label form (RFC 5890), as it is on the wire.
 */
export const egressHost = z
  .string()
  .refine((text) => shapes.some((shape) => shape.test(text)), {
    error:
      'must be NAME, NAME:PORT, *.NAME, *.NAME:PORT, an IP address or a CIDR block, for example registry.npmjs.org:443',
  })
  .meta({
    id: 'EgressHost',
    description:
      'NAME, *.NAME (any depth below it, not itself), either with :PORT behind it, an IP address or a CIDR block.',
    anyOf: shapes.map((shape) => ({ pattern: shape.source })),
  });

/** What any name has in it that an entry stands for, in lower case: no port, and `.name` of `*.name`. */
export function egressName(entry: string): string {
  return (named.test(entry) ? entry.replace(/:\d+$/, '') : entry).replace(/^\*/, '').toLowerCase();
}
