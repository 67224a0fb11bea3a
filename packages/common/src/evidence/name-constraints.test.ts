import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  Name,
  NameConstraints,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import { receiptSigning } from '../identity/index.ts';
import { generateTlsKey, toSigningKey } from '../pki/certificate.ts';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  PublicKey,
  X509CertificateGenerator,
  Name as X509Name,
} from '../pki/x509.ts';
import { whyLeftOut } from './name-constraints.ts';
import { checkNames, verifyCertificates } from './receipt-certificate.ts';

type Names = readonly Partial<GeneralName>[];

const dns = (...names: string[]): Names => names.map((dNSName) => ({ dNSName }));
const uri = (...names: string[]): Names =>
  names.map((uniformResourceIdentifier) => ({ uniformResourceIdentifier }));
const ip = (...names: string[]): Names => names.map((iPAddress) => ({ iPAddress }));

const subtrees = (names: Names): GeneralSubtrees =>
  new GeneralSubtrees(names.map((it) => new GeneralSubtree({ base: new GeneralName(it) })));

function constraintsOf(permitted: Names, excluded: Names = []): Uint8Array {
  const value = new NameConstraints({
    ...(permitted.length === 0 ? {} : { permittedSubtrees: subtrees(permitted) }),
    ...(excluded.length === 0 ? {} : { excludedSubtrees: subtrees(excluded) }),
  });
  return new Uint8Array(AsnConvert.serialize(value));
}

const keys = { ca: generateTlsKey(), host: generateKeyPairSync('ed25519').privateKey };

/** DER of a certificate that says these things. */
async function certificate(
  subject: string,
  extensions: Extension[],
  { key = keys.ca, issuer = subject }: { readonly key?: KeyObject; readonly issuer?: string } = {},
): Promise<Uint8Array> {
  const made = await X509CertificateGenerator.create({
    subject,
    issuer,
    notBefore: new Date(0),
    notAfter: new Date(4_000_000_000_000),
    publicKey: new PublicKey(createPublicKey(key).export({ type: 'spki', format: 'der' })),
    signingKey: toSigningKey(keys.ca),
    extensions,
  });
  return new Uint8Array(made.rawData);
}

const constraining = (...values: Uint8Array[]): Extension[] => [
  new BasicConstraintsExtension(true, undefined, true),
  ...values.map((value) => new Extension(id_ce_nameConstraints, true, value)),
];
const issuerOf = (...values: Uint8Array[]) => certificate('CN=ca', constraining(...values));

const named = (names: Names): Extension =>
  new Extension(
    id_ce_subjectAltName,
    false,
    AsnConvert.serialize(new SubjectAlternativeName(names.map((it) => new GeneralName(it)))),
  );
const leafOf = (names: Names, subject = '') => certificate(subject, names.length === 0 ? [] : [named(names)]);

/** Which of these names, each alone in a certificate, an issuer of these constraints may certify. */
async function allowed(value: Uint8Array, names: Names): Promise<string[]> {
  const issuer = await issuerOf(value);
  const found: string[] = [];
  for (const name of names)
    if (whyLeftOut(issuer, await leafOf([name])) === undefined) found.push(String(Object.values(name)[0]));
  return found;
}

function refusalOf(issuer: Uint8Array, leaf: Uint8Array): string {
  try {
    checkNames(issuer, leaf);
    return 'none';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('whyLeftOut', () => {
  it('has a DNS name lie within a host that is it, or that it is below (RFC 5280 §4.2.1.10)', async () => {
    const names = dns('a.example', 'x.a.example', 'y.x.A.EXAMPLE', 'xa.example', 'example', 'a.example.org');
    expect(await allowed(constraintsOf(dns('A.example')), names)).toEqual([
      'a.example',
      'x.a.example',
      'y.x.A.EXAMPLE',
    ]);
    expect(await allowed(constraintsOf([], dns('a.example')), names)).toEqual([
      'xa.example',
      'example',
      'a.example.org',
    ]);
    // With a dot before it, what is below alone, as OpenSSL has it; an empty one is every name.
    expect(await allowed(constraintsOf(dns('.a.example')), names)).toEqual(['x.a.example', 'y.x.A.EXAMPLE']);
    expect(await allowed(constraintsOf([], dns('')), names)).toEqual([]);
  });

  it('has a URI lie within the host that it names, or with a dot before it, within what is below alone', async () => {
    const names = uri(
      ...['spiffe://a.example/executor/h', 'spiffe://x.a.example/executor/h', 'SPIFFE://A.Example'],
      ...['spiffe://xa.example/', 'https://other.example/?spiffe://a.example/', 'spiffe://.a.example/'],
    );
    expect(await allowed(constraintsOf(uri('a.example')), names)).toEqual([
      'spiffe://a.example/executor/h',
      'SPIFFE://A.Example',
    ]);
    expect(await allowed(constraintsOf(uri('.a.example')), names)).toEqual([
      'spiffe://x.a.example/executor/h',
    ]);
    expect(await allowed(constraintsOf([], uri('a.example', '.a.example')), names)).toEqual([
      ...['spiffe://xa.example/', 'https://other.example/?spiffe://a.example/', 'spiffe://.a.example/'],
    ]);
  });

  it('refuses a URI whose host is not told by itself: with a port, a user, or none', async () => {
    const issuer = await issuerOf(constraintsOf(uri('a.example')));
    const hosts = ['a.example:1', 'u@a.example', '', '[::1]'].map((host) => `spiffe://${host}/`);
    for (const odd of [...hosts, 'urn:a.example'])
      expect(refusalOf(issuer, await leafOf(uri(odd)))).toMatch(/cannot be read/);
  });

  it('leaves an excluded name out that is permitted, and any of several names that is not permitted', async () => {
    const value = constraintsOf(dns('a.example', 'b.example'), dns('x.a.example'));
    expect(await allowed(value, dns('a.example', 'x.a.example', 'z.x.a.example', 'b.example'))).toEqual([
      'a.example',
      'b.example',
    ]);
    const issuer = await issuerOf(value);
    expect(whyLeftOut(issuer, await leafOf(dns('a.example', 'b.example')))).toBeUndefined();
    expect(whyLeftOut(issuer, await leafOf(dns('a.example', 'c.example')))).toContain('c.example');
  });

  it('says nothing of forms of names that are not constrained, nor of certificates without names', async () => {
    const issuer = await issuerOf(constraintsOf(dns('a.example')));
    expect(whyLeftOut(issuer, await leafOf(uri('spiffe://b.example/')))).toBeUndefined();
    expect(whyLeftOut(issuer, await leafOf(ip('127.0.0.1', '::1'), 'CN=c.example'))).toBeUndefined();
    expect(whyLeftOut(issuer, await leafOf([]))).toBeUndefined();
    expect(whyLeftOut(await issuerOf(), await leafOf(dns('b.example')))).toBeUndefined();
  });

  it('has an address lie within those that agree with the subnet’s under its mask, of the same family', async () => {
    const four = ip('10.0.0.1', '10.255.0.1', '11.0.0.1', '127.0.0.1');
    const six = ip('2001:db8::1', '2001:db8:ffff::', '2001:db9::1', '::1', '::ffff:a00:1');
    const said = (names: Names): string[] => names.map(({ iPAddress = '' }) => iPAddress);
    const all = [...four, ...six];
    const within = async (permitted: string[], excluded: string[] = []) =>
      allowed(constraintsOf(ip(...permitted), ip(...excluded)), all);
    expect(await within(['10.0.0.0/8'])).toEqual(['10.0.0.1', '10.255.0.1']);
    // Bits that the mask leaves out do not count; and a mask need not end with a byte.
    expect(await within(['10.9.9.9/8'])).toEqual(['10.0.0.1', '10.255.0.1']);
    expect(await within(['10.128.0.0/9', '2001:db8:8000::/33'])).toEqual(['10.255.0.1', '2001:db8:ffff::']);
    expect(await within(['2001:db8::/32'])).toEqual(['2001:db8::1', '2001:db8:ffff::']);
    expect(await within(['127.0.0.1/32', '::1/128'])).toEqual(['127.0.0.1', '::1']);
    // One family alone: the other is not permitted. Excluded are those alone.
    expect(await within(['0.0.0.0/0'])).toEqual(said(four));
    expect(await within(['::/0'])).toEqual(said(six));
    expect(await within([], ['0.0.0.0/0'])).toEqual(said(six));
    expect(await within([], ['10.0.0.0/8', '2001:db8::/32'])).toEqual([
      '11.0.0.1',
      '127.0.0.1',
      ...said(six).slice(2),
    ]);
    expect(await within(['10.0.0.0/8', '::/0'], ['10.255.0.0/16', '::1/128'])).toEqual([
      ...['10.0.0.1', '2001:db8::1', '2001:db8:ffff::', '2001:db9::1', '::ffff:a00:1'],
    ]);
    const issuer = await issuerOf(constraintsOf(ip('10.0.0.0/8')));
    expect(whyLeftOut(issuer, await leafOf(ip('10.0.0.1', '11.0.0.1')))).toBe('it may not certify 11.0.0.1');
  });

  it('refuses an address with a mask, a subnet without one, a mask with holes, and other lengths', async () => {
    const issuer = await issuerOf(constraintsOf(ip('10.0.0.0/8')));
    expect(refusalOf(issuer, await leafOf(ip('10.0.0.0/8')))).toMatch(/cannot be read/);
    const leaf = await leafOf(ip('10.0.0.1'));
    expect(refusalOf(issuer, leaf)).toBe('none');
    for (const base of [
      '0a000001',
      '0a000000 ff00ff00',
      '0a0000 ff0000',
      '0a000000 ff0000',
      '',
      '00'.repeat(31),
    ]) {
      const bytes = Buffer.from(base.replaceAll(' ', ''), 'hex');
      const wrap = (tag: number, inner: Uint8Array) => Buffer.from([tag, inner.length, ...inner]);
      const value = wrap(0x30, wrap(0xa0, wrap(0x30, wrap(0x87, bytes))));
      expect(refusalOf(await issuerOf(value), leaf)).toMatch(/cannot be read/);
    }
  });

  it('leaves out what has a name of a form that is constrained and not understood: mail, directories', async () => {
    const mail = await issuerOf(constraintsOf([{ rfc822Name: 'a.example' }]));
    expect(whyLeftOut(mail, await leafOf([{ rfc822Name: 'x@a.example' }]))).toContain('not understood');
    const directoryName = AsnConvert.parse(new X509Name('CN=a').toArrayBuffer(), Name);
    const directory = await issuerOf(constraintsOf([{ directoryName }]));
    expect(whyLeftOut(directory, await leafOf(dns('a.example'), 'CN=a'))).toContain('not understood');
    expect(whyLeftOut(directory, await leafOf([{ directoryName }]))).toContain('not understood');
    expect(whyLeftOut(directory, await leafOf(dns('a.example')))).toBeUndefined();
  });

  const tree = constraintsOf(dns('a.example'));
  const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');
  it.each<[string, Uint8Array[]]>([
    ['that stands twice', [tree, tree]],
    ['with bytes after it', [Buffer.concat([tree, hex('00')])]],
    ['with a sequence after it', [Buffer.concat([tree, hex('3000')])]],
    ['that is cut', [tree.subarray(0, -1)]],
    ['that is empty', [hex('')]],
    ['of no sequence', [hex('0500')]],
    ['with a part that there is none of', [hex('30 09 a2 07 30 05 82 03 61 2e 62')]],
    ['with a minimum', [hex('30 0c a0 0a 30 08 82 03 61 2e 62 80 01 01')]],
    ['with a maximum', [hex('30 0c a0 0a 30 08 82 03 61 2e 62 81 01 01')]],
    ['of a subtree without a base', [hex('30 04 a0 02 30 00')]],
    ['of a subtree with two', [hex('30 0c a0 0a 30 08 82 01 61 82 03 61 2e 62')]],
    ['of a length that is not the shortest', [hex('30 0a a0 08 30 81 05 82 03 61 2e 62')]],
    ['of no length', [hex('30 80 a0 07 30 05 82 03 61 2e 62 00 00')]],
    ['of a name with bytes after it', [hex('30 0b a0 09 30 05 82 03 61 2e 62 05 00')]],
  ])('refuses an extension %s', async (_, values) => {
    const issuer = await issuerOf(...values);
    expect(refusalOf(issuer, await leafOf(dns('a.b')))).toMatch(
      /the name constraints of a CA cannot be read/,
    );
  });

  it('refuses a certificate with bytes after it, and one whose names cannot be read', async () => {
    const issuer = await issuerOf(tree);
    const leaf = await leafOf(dns('a.example'));
    expect(refusalOf(issuer, leaf)).toBe('none');
    const more = (der: Uint8Array): Uint8Array => Buffer.concat([der, hex('0500')]);
    expect(refusalOf(more(issuer), leaf)).toMatch(/cannot be read/);
    expect(refusalOf(issuer, more(leaf))).toMatch(/cannot be read/);
    const unread = ['3003 82 01', '3003 820161 00', '0500', ''].map((it) => hex(it));
    for (const value of unread) {
      const odd = await certificate('', [new Extension(id_ce_subjectAltName, false, value)]);
      expect(refusalOf(issuer, odd)).toMatch(/cannot be read/);
    }
    const twice = await certificate('', [named(dns('a.example')), named(dns('b.example'))]);
    expect(refusalOf(issuer, twice)).toMatch(/cannot be read/);
  });
});

describe('verifyCertificates', () => {
  it('holds a receipt key against the name constraints of each CA above it', async () => {
    const now = new Date('2026-01-01T12:00:00Z');
    const [wide, own, other] = [uri('.a.example'), uri('b.a.example'), uri('a.example')];
    const leaf = new X509Certificate(
      await certificate(
        'CN=host',
        [new ExtendedKeyUsageExtension([receiptSigning]), named(uri('spiffe://b.a.example/executor/h'))],
        { key: keys.host, issuer: 'CN=second' },
      ),
    );
    const ca = async (subject: string, issuer: string, permitted: Names): Promise<X509Certificate> => {
      const values = permitted.length === 0 ? [] : [constraintsOf(permitted)];
      return new X509Certificate(await certificate(subject, constraining(...values), { issuer }));
    };
    const verified = async (top: Names, first: Names, second: Names): Promise<string> => {
      const chain = [leaf, await ca('CN=second', 'CN=first', second), await ca('CN=first', 'CN=root', first)];
      try {
        return verifyCertificates(chain, [await ca('CN=root', 'CN=root', top)], now).owner;
      } catch (error) {
        return (error as Error).message;
      }
    };
    const owner = 'spiffe://b.a.example/executor/h';
    expect(await verified([], [], [])).toBe(owner);
    expect(await verified(wide, wide, own)).toBe(owner);
    for (const at of [0, 1, 2]) {
      const [top = [], first = [], second = []] = [0, 1, 2].map((it) => (it === at ? other : []));
      expect(await verified(top, first, second)).toMatch(
        /name constraints of a CA, it may not certify spiffe:/,
      );
    }
  });
});
