import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
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
import {
  BasicConstraintsExtension,
  X509CertificateGenerator,
  Extension as X509Extension,
} from '../pki/x509.ts';
import { identityOfCertificate, uriNames } from './certificate.ts';
import { isEndingSoon, tellLeft } from './validity.ts';

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

  it.each([
    'a:1,URI:b:2',
    'a:"1",URI:b:2',
    'a:\\1,URI=b%2C',
    'a:1, URI:b:2',
    'a:\u0000b',
    'a:\u007f',
    'a:\u00e9',
    'a:\n',
  ])('refuses a certificate with a name that could pass for several: %j (CVE-2021-44532)', (text) => {
    const mine = uri('spiffe://csc.local/client/x');
    expect(() => uriNames(withNames([uri(text)]))).toThrow(Error);
    expect(() => uriNames(withNames([mine, new GeneralName({ dNSName: text })]))).toThrow(Error);
  });

  it('refuses every certificate that is cut, and bytes that are none', () => {
    for (let length = 0; length < der.length; length++)
      expect(() => uriNames(der.subarray(0, length))).toThrow(Error);
    expect(() => uriNames(Uint8Array.of(...der, 0))).toThrow(Error);
  });
});

describe('the handshake', () => {
  // Which of two would count? The OpenSSL whose reading uriNames takes does not let such a certificate in.
  it.each([
    [1, true],
    [2, false],
  ])('with %i subject alternative names: authorized is %j', async (count, authorized) => {
    const names = ['client/x', 'gate/x'].slice(0, count).map((name) => uri(`spiffe://csc.local/${name}`));
    expect(await isAuthorized(...(await issueWith(names.map((name) => encode([name])))))).toBe(authorized);
  });
});

type Pem = [ca: string, certificate: string, key: string];

async function issueWith(alternativeNames: Uint8Array[]): Promise<Pem> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const life = { notBefore: new Date(0), notAfter: new Date(4_000_000_000_000), signingAlgorithm: algorithm };
  const ca = await X509CertificateGenerator.createSelfSigned({
    ...life,
    name: 'CN=ca',
    keys,
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  });
  const leaf = await X509CertificateGenerator.create({
    ...life,
    subject: 'CN=x',
    issuer: ca.subject,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    extensions: alternativeNames.map((it) => new X509Extension(id_ce_subjectAltName, false, it)),
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return [
    ca.toString('pem'),
    leaf.toString('pem'),
    `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
  ];
}

async function isAuthorized(...[ca, cert, key]: Pem): Promise<boolean> {
  const server = createServer({ ca, cert, key }, (socket) => socket.end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const noNameCheck = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const socket = connect({ host: '127.0.0.1', port, ca, ...noNameCheck });
  await once(socket, 'secureConnect');
  socket.destroy();
  server.close();
  return socket.authorized;
}

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

describe('how long a certificate still counts', () => {
  const hour = 3600_000;
  const life = (hours: number) => ({ from: new Date(0), until: new Date(hours * hour) });
  const at = (hours: number): Date => new Date(hours * hour);

  it('is told in days, in hours and minutes where it is short, and in seconds at the last', () => {
    const told = [0, 30 * 24 - 47, 30 * 24 - 10.5, 30 * 24 - 0.5, 30 * 24 - 0.01, 30 * 24 + 1];
    expect(told.map((it) => tellLeft(life(30 * 24), at(it)))).toEqual([
      ...['ends in 30 days', 'ends in 47 h 0 min', 'ends in 10 h 30 min', 'ends in 30 min', 'ends in 36 s'],
      'has ended',
    ]);
  });

  it('is warned of by its own life: one of a day in its last quarter, one of a year in its last 30 days', () => {
    const warned = (hours: number, left: number) => isEndingSoon(life(hours), at(hours - left));
    expect([warned(24, 10), warned(24, 7), warned(24, 5), warned(24, -1)]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect([warned(365 * 24, 31 * 24), warned(365 * 24, 29 * 24)]).toEqual([false, true]);
  });
});
