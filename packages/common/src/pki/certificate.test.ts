import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generateTlsKey, type Issuer, issueCertificate, toCertificate } from './certificate.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate as ParsedCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from './x509.ts';

const validity = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2060-01-01T00:00:00Z') };

async function makeCa(): Promise<Issuer> {
  const key = generateTlsKey();
  const pem = await issueCertificate({ commonName: 'a CA', use: 'ca', ...validity }, key);
  return { certificate: toCertificate(pem), key };
}

async function issueLeaf(ca: Issuer, commonName = 'x'): Promise<ParsedCertificate> {
  const request = { commonName, use: 'client', uri: 'spiffe://csc.local/client/x', ...validity } as const;
  return toCertificate(await issueCertificate(request, generateTlsKey(), ca));
}

const criticalOnes = (certificate: ParsedCertificate) =>
  certificate.extensions.filter((it) => it.critical).map((it: Extension) => it.constructor);

describe('issueCertificate', () => {
  it('makes a CA that can sign certificates, and no further CAs', async () => {
    const { certificate } = await makeCa();
    expect(certificate.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: true, pathLength: 0 });
    const usages = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign;
    expect(certificate.getExtension(KeyUsagesExtension)).toMatchObject({ usages });
    expect(certificate.getExtension(SubjectAlternativeNameExtension)).toBeNull();
    expect(criticalOnes(certificate)).toEqual([BasicConstraintsExtension, KeyUsagesExtension]);
    expect(await certificate.isSelfSigned()).toBe(true);
  });

  it('makes others that can sign for themselves only', async () => {
    const ca = await makeCa();
    const leaf = await issueLeaf(ca);
    expect(leaf.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: false, pathLength: undefined });
    expect(leaf.getExtension(KeyUsagesExtension)).toMatchObject({ usages: KeyUsageFlags.digitalSignature });
    expect(leaf.getExtension(ExtendedKeyUsageExtension)?.usages).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(criticalOnes(leaf)).toEqual([BasicConstraintsExtension, KeyUsagesExtension]);
    expect(
      new X509Certificate(leaf.toString()).checkIssued(new X509Certificate(ca.certificate.toString())),
    ).toBe(true);
  });

  it('names the key of the CA as the CA itself does', async () => {
    const { certificate, key } = await makeCa();
    const own = certificate.getExtension(SubjectKeyIdentifierExtension)?.keyId;
    expect(own).toMatch(/^[0-9a-f]{40}$/);
    expect(certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId).toBe(own);
    const params = { name: 'ECDSA', namedCurve: 'P-256' };
    const foreign = await X509CertificateGenerator.create({
      subject: 'CN=made elsewhere',
      issuer: 'CN=made elsewhere',
      publicKey: certificate.publicKey,
      signingKey: key.toCryptoKey(params, false, ['sign']),
      extensions: [new SubjectKeyIdentifierExtension('0102')],
    });
    const leaf = await issueLeaf({ certificate: foreign, key });
    expect(leaf.getExtension(AuthorityKeyIdentifierExtension)?.keyId).toBe('0102');
  });

  it('numbers certificates at random, with positive numbers', async () => {
    const ca = await makeCa();
    const leaves = await Promise.all(Array.from({ length: 32 }, () => issueLeaf(ca)));
    const serials = leaves.map((leaf) => new X509Certificate(leaf.toString()).serialNumber);
    expect(new Set(serials).size).toBe(32);
    for (const serial of serials) expect(serial).toMatch(/^[0-9A-F]{2,40}$/);
  });

  it('takes a common name as it is', async () => {
    const name = 'a, CN=b + "c" \\ #0500 ü';
    const leaf = await issueLeaf(await makeCa(), name);
    expect(new X509Certificate(leaf.toString()).toLegacyObject().subject.CN).toBe(name);
  });

  it('is good for the time asked for, beyond 2050 as well', async () => {
    const { certificate } = await makeCa();
    expect(certificate).toMatchObject(validity);
  });
});

describe('toCertificate', () => {
  it('refuses what is none', async () => {
    const key = generateTlsKey().export({ type: 'pkcs8', format: 'pem' }).toString();
    const cut = '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n';
    for (const text of ['', 'text', key, cut]) expect(() => toCertificate(text)).toThrow(Error);
  });
});
