import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  Certificate,
  Extension,
  Extensions,
  GeneralName,
  id_ce_subjectAltName,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import { generateTlsKey, issueCertificate } from '../pki/index.ts';
import { identityOfCertificate } from './peer-identity.ts';
import { uriNames } from './subject-alt-name.ts';

const pem = await issueCertificate(
  {
    commonName: 'x',
    use: 'client',
    uri: 'spiffe://csc.local/client/x',
    hosts: ['localhost', '127.0.0.1'],
    notBefore: new Date(0),
    notAfter: new Date(2_000_000_000_000),
  },
  generateTlsKey(),
);
const der = new Uint8Array(new X509Certificate(pem).raw);

/** The certificate with other such extensions; its signature no longer fits, which is not looked at here. */
function withValues(...values: Uint8Array[]): Uint8Array {
  const certificate = AsnConvert.parse(der, Certificate);
  const others = [...(certificate.tbsCertificate.extensions ?? [])].filter(
    (it) => it.extnID !== id_ce_subjectAltName,
  );
  const added = values.map(
    (value) => new Extension({ extnID: id_ce_subjectAltName, extnValue: new OctetString(value) }),
  );
  certificate.tbsCertificate.extensions = new Extensions([...others, ...added]);
  return new Uint8Array(AsnConvert.serialize(certificate));
}

function withNames(...extensions: GeneralName[][]): Uint8Array {
  return withValues(...extensions.map(encode));
}

function encode(names: GeneralName[]): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(new SubjectAlternativeName(names)));
}

function uri(text: string): GeneralName {
  return new GeneralName({ uniformResourceIdentifier: text });
}

describe('uriNames', () => {
  it('finds the URIs among other names', () => {
    expect(uriNames(der)).toEqual(['spiffe://csc.local/client/x']);
    expect(uriNames(withNames([uri('a:1'), new GeneralName({ dNSName: 'h' }), uri('b:2')]))).toEqual([
      'a:1',
      'b:2',
    ]);
  });

  it('finds none where there are none', () => {
    expect(uriNames(withNames())).toEqual([]);
    expect(uriNames(withNames([new GeneralName({ dNSName: 'spiffe://csc.local/gate/g' })]))).toEqual([]);
  });

  it.each(['a:1,URI:b:2', 'a:"1", URI:b:2', 'a:\\1/URI=b%2C', 'DNS:h,'])(
    'is not fooled by separators: %s (CVE-2021-44532)',
    (text) => {
      const bytes = withNames([uri(text.replaceAll(' ', '')), new GeneralName({ dNSName: text })]);
      expect(uriNames(bytes)).toEqual([text.replaceAll(' ', '')]);
    },
  );

  it('reads the certificates of the CAs that Node.js trusts', () => {
    for (const root of rootCertificates) expect(uriNames(new X509Certificate(root).raw)).toEqual([]);
  });

  it('refuses two extensions of the same kind, and a URI with other characters', () => {
    expect(() => uriNames(withNames([uri('a:1')], [uri('b:2')]))).toThrow(Error);
    for (const text of ['a:\u0000b', 'a: b', 'a:\u007f', 'a:\u00e9', 'a:\n']) {
      expect(() => uriNames(withNames([uri(text)]))).toThrow(Error);
    }
  });

  it('refuses every certificate that is cut, and bytes that are none', () => {
    for (let length = 0; length < der.length; length++)
      expect(() => uriNames(der.subarray(0, length))).toThrow(Error);
    expect(() => uriNames(Uint8Array.of(...der, 0))).toThrow(Error);
  });

  it('refuses names that are not DER, or more than names', () => {
    const value = encode([uri('a:1')]);
    expect(uriNames(withValues(value))).toEqual(['a:1']);
    const [tag = 0, length = 0, ...names] = value;
    const others = [
      [],
      value.subarray(0, -1),
      [...value, 0],
      [...value, ...value],
      [tag, 0x80, ...names, 0, 0],
      [tag, 0x81, length, ...names],
      names,
      [0x31, length, ...names],
    ];
    for (const other of others) {
      expect(() => uriNames(withValues(Uint8Array.from(other)))).toThrow(Error);
    }
  });
});

describe('identityOfCertificate', () => {
  const code = (bytes: Uint8Array): string => {
    try {
      return identityOfCertificate(bytes).uri;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it('gives the identity of the one URI', () => {
    expect(code(der)).toBe('spiffe://csc.local/client/x');
  });

  it('refuses none, several, others, and what is no certificate', () => {
    const mine = uri('spiffe://csc.local/client/x');
    expect(code(withNames())).toBe('CREDENTIALS_INVALID');
    expect(code(withNames([mine, mine]))).toBe('CREDENTIALS_INVALID');
    expect(code(withNames([mine, uri('https://example.org/')]))).toBe('CREDENTIALS_INVALID');
    expect(code(withNames([uri('https://example.org/client/x')]))).toBe('CREDENTIALS_INVALID');
    expect(code(withNames([uri('https://x,URI:spiffe://csc.local/gate/g')]))).toBe('CREDENTIALS_INVALID');
    expect(code(new Uint8Array())).toBe('CREDENTIALS_INVALID');
  });
});
