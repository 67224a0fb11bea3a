import { generateTlsKey, issueCertificate } from '@csc-fleet/common/pki';

/** A certificate that is its own authority, for a server of these names, and its key: PEM. */
export async function createTestCertificate(hosts: readonly string[]): Promise<{
  readonly cert: string;
  readonly key: string;
}> {
  const key = generateTlsKey();
  const now = Date.now();
  const request = {
    commonName: 'test',
    use: 'server' as const,
    hosts,
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + 3_600_000),
  };
  const cert = await issueCertificate(request, key);
  return { cert, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
}
