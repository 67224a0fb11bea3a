import * as z from 'zod';

const label = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const port = '[1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5]';
// A last label that is a number makes a name an IPv4 address to many resolvers (inet_aton(3)): 0x7f.1 is 127.0.0.1.
const notNumeric = '(?!(?:\\d+|0[xX][0-9A-Fa-f]*)(?::|$))';
const name = `^(?:\\*\\.)?(?=[^:]{1,253}(?::|$))(?:${label}\\.)*${notNumeric}${label}`;
const named = new RegExp(`${name}(?::(?:${port}))?$`);
const tcp = new RegExp(`${name}:tcp:(?:${port})$`);
const { ipv4, ipv6, cidrv4, cidrv6 } = z.regexes;
const shapes = [named, tcp, ipv4, ipv6, cidrv4, cidrv6];

/**
 * Where a command may connect to: `name`, `*.name` (any depth below it, not itself), either with `:port` behind it for
 * TLS and HTTP or `:tcp:port` for any protocol, an IP address or a CIDR block. Names are compared without regard to
 * case; a name of other than ASCII letters is written in its A-label form (RFC 5890), as it is on the wire.
 */
export const egressHost = z
  .string()
  .refine((text) => shapes.some((shape) => shape.test(text)), {
    error:
      'must be NAME, NAME:PORT, NAME:tcp:PORT, the same with *.NAME, an IP address or a CIDR block, for example registry.npmjs.org:443 or github.com:tcp:22',
  })
  .meta({
    id: 'EgressHost',
    description:
      'NAME, *.NAME (any depth below it, not itself), either with :PORT behind it for TLS and HTTP, or with :tcp:PORT for any protocol, which nobody then looks at; an IP address or a CIDR block.',
    anyOf: shapes.map((shape) => ({ pattern: shape.source })),
  });

/** An entry that says more of a host than where it is; addresses and CIDR blocks have no more to say. */
const egressHostObject = z
  .strictObject({
    host: egressHost
      .refine((text) => named.test(text), {
        error: 'must be NAME, NAME:PORT, *.NAME or *.NAME:PORT, for example registry.npmjs.org:443',
      })
      .meta({
        id: 'EgressHostName',
        description: 'As an entry that is text; no address.',
        pattern: named.source,
      }),
    ech: z.literal('allow').meta({
      description:
        'A TLS ClientHello for it may be encrypted (ECH), so that nobody on the way sees which name it is for.',
    }),
  })
  .meta({ id: 'EgressHostObject' });

/** A place where a command may connect to, as text or with what else is said of it. */
export const egressHostEntry = z.union([egressHost, egressHostObject]);

/** A place where a command may connect to. */
export type EgressHost = z.infer<typeof egressHostEntry>;

/** What an entry is without what else is said of it. */
export function egressHostText(entry: EgressHost): string {
  return typeof entry === 'string' ? entry : entry.host;
}

/** What any name has in it that an entry stands for, in lower case: no port, and `.name` of `*.name`. */
export function egressName(entry: EgressHost): string {
  const text = egressHostText(entry);
  return (named.test(text) || tcp.test(text) ? text.replace(/(?::tcp)?:\d+$/, '') : text)
    .replace(/^\*/, '')
    .toLowerCase();
}
