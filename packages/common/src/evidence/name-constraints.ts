import type { GeneralName, GeneralSubtree } from '@peculiar/asn1-x509';
import { sha256Hex } from '../encoding/index.ts';
import { loadX509, type X509Schema } from './node-x509.ts';

/** A name in a certificate, or the base of a subtree. */
interface Name {
  readonly form: string;
  /** In lower case; of an address as people write it, of a subtree of them with its prefix; of another form, empty. */
  readonly text: string;
}

const [dns, uri, ip] = ['dNSName', 'uniformResourceIdentifier', 'iPAddress'];
const understood: readonly string[] = [dns, uri, ip];

// 2.5.29.30, as it stands in whatever certificate has the extension.
const constraintsId = '\x55\x1d\x1e';

// All receipts of a host bring the same certificates, and reading one takes a millisecond or two. What is false is read anew.
const known = new Map<string, string | undefined>();
const maxKnown = 256;

/**
 * Why an issuer's name constraints (RFC 5280 §4.2.1.10) leave out a certificate below it; undefined where they do not,
 * or there are none. A form of name that is constrained and not understood leaves out whatever has such a name. Throws
 * Error where the issuer has some, and they or a certificate cannot be read.
 * @param issuer DER of the certificate
 * @param leaf DER of the certificate
 */
export function whyLeftOut(issuer: Uint8Array, leaf: Uint8Array): string | undefined {
  if (!Buffer.from(issuer).toString('latin1').includes(constraintsId)) return undefined;
  const pair = [issuer, leaf].map((der) => sha256Hex(der)).join(' ');
  if (known.has(pair)) return known.get(pair);
  const found = readWhy(issuer, leaf);
  if (known.size >= maxKnown) known.clear();
  known.set(pair, found);
  return found;
}

function readWhy(issuer: Uint8Array, leaf: Uint8Array): string | undefined {
  const x509 = loadX509();
  const value = extension(readWhole(x509, issuer, x509.Certificate), x509.id_ce_nameConstraints);
  if (value === undefined) return undefined;
  const { permittedSubtrees = [], excludedSubtrees = [] } = readWhole(x509, value, x509.NameConstraints);
  const [permitted, excluded] = [permittedSubtrees.map(baseOf), excludedSubtrees.map(baseOf)];
  for (const name of namesOf(x509, leaf)) {
    const within = permitted.filter(({ form }) => form === name.form);
    const without = excluded.filter(({ form }) => form === name.form);
    if (within.length + without.length === 0) continue;
    if (!understood.includes(name.form)) return 'it constrains a form of name that is not understood';
    const isIn = (base: Name): boolean =>
      name.form === ip ? isInSubnet(x509, name.text, base.text) : isWithin(name, base.text);
    if (without.some(isIn) || (within.length > 0 && !within.some(isIn)))
      return `it may not certify ${name.text}`;
  }
  return undefined;
}

function isWithin(name: Name, base: string): boolean {
  if (name.form === dns)
    return base === '' || name.text === base || name.text.endsWith(base.startsWith('.') ? base : `.${base}`);
  const host = /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9._-]+)(?:[/?#]|$)/.exec(name.text)?.[1];
  if (host === undefined) throw new Error('a URI without a host');
  return base.startsWith('.') ? host.endsWith(base) && host !== base : host === base;
}

// An address, and as many bytes of mask as it has. One of IPv4 is none of IPv6, nor permitted where those alone are.
function isInSubnet(x509: X509Schema, name: string, base: string): boolean {
  const [address, subnet] = [toBytes(x509, name), toBytes(x509, base)];
  if (![4, 16].includes(address.length) || ![8, 32].includes(subnet.length))
    throw new Error('an address of another length');
  const half = subnet.length / 2;
  return (
    address.length === half &&
    address.every((byte, at) => ((byte ^ (subnet[at] ?? 0)) & (subnet[half + at] ?? 0)) === 0)
  );
}

// As the library has written it out, which it could not but the same: after its tag and length.
function toBytes({ AsnConvert, GeneralName }: X509Schema, iPAddress: string): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(new GeneralName({ iPAddress }))).subarray(2);
}

function baseOf({ base, minimum, maximum }: GeneralSubtree): Name {
  // They have no place in this profile.
  if (minimum !== 0 || maximum !== undefined) throw new Error('a subtree with more than its base');
  return toName(base);
}

function namesOf(x509: X509Schema, leaf: Uint8Array): Name[] {
  const certificate = readWhole(x509, leaf, x509.Certificate);
  const value = extension(certificate, x509.id_ce_subjectAltName);
  const names = value === undefined ? [] : readWhole(x509, value, x509.SubjectAlternativeName).map(toName);
  const { subject } = certificate.tbsCertificate;
  return subject.length === 0 ? names : [...names, { form: 'directoryName', text: '' }];
}

function toName(name: GeneralName): Name {
  const [said, ...more] = Object.entries(name).filter(([, value]) => value !== undefined);
  if (said === undefined || more.length > 0) throw new Error('a name that is not of one form');
  const [form, value] = said;
  return { form, text: typeof value === 'string' ? value.toLowerCase() : '' };
}

type Certificate = InstanceType<X509Schema['Certificate']>;

function extension({ tbsCertificate }: Certificate, id: string): Uint8Array | undefined {
  const [one, ...more] = (tbsCertificate.extensions ?? []).filter(({ extnID }) => extnID === id);
  if (more.length > 0) throw new Error('an extension twice');
  return one === undefined ? undefined : new Uint8Array(one.extnValue.buffer);
}

// The library takes BER, and leaves bytes and parts aside that it has no place for: DER is what it would write itself.
function readWhole<T>({ AsnConvert }: X509Schema, der: Uint8Array, type: new () => T): T {
  const read = AsnConvert.parse(der, type);
  const written = new Uint8Array(AsnConvert.serialize(read));
  if (written.length !== der.length || written.some((byte, at) => byte !== der[at]))
    throw new Error('not the DER that is due');
  return read;
}
