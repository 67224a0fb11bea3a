import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Issuer } from '@csc-fleet/common/owners';
import type { TokenAlgorithm } from '@csc-fleet/common/schema';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

type SigningKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
type Algorithm = TokenAlgorithm;

/** An issuer of OIDC tokens as a CI has one: it signs real ones, with keys that it may change. */
export class TestIssuer {
  readonly url: string;
  readonly algorithm: Algorithm;
  /** Its public keys, as it publishes them. */
  readonly keys: JWK[] = [];
  #key: SigningKey | undefined;
  #keyId = '';

  private constructor(url: string, algorithm: Algorithm) {
    this.url = url;
    this.algorithm = algorithm;
  }

  static async make(
    url = 'https://token.actions.githubusercontent.com',
    algorithm: Algorithm = 'RS256',
  ): Promise<TestIssuer> {
    const issuer = new TestIssuer(url, algorithm);
    await issuer.rotate();
    return issuer;
  }

  /** Signs with another key from now on, which it publishes beside those before. */
  async rotate(): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(this.algorithm, { extractable: true });
    this.#key = privateKey;
    this.#keyId = `key-${this.keys.length + 1}`;
    this.keys.push({ ...(await exportJWK(publicKey)), kid: this.#keyId, use: 'sig', alg: this.algorithm });
  }

  /**
   * A token with these claims, good from a moment ago for five minutes. A claim or header member that is undefined is left
   * out; `signWith` signs it instead of the issuer.
   */
  async sign(
    claims: Readonly<Record<string, unknown>>,
    {
      now = new Date(),
      header = {},
      signWith,
    }: { now?: Date; header?: Record<string, unknown>; signWith?: SigningKey | Uint8Array } = {},
  ): Promise<string> {
    const at = Math.floor(now.getTime() / 1000);
    const all = { iss: this.url, iat: at - 1, nbf: at - 1, exp: at + 300, jti: 'jti-1', ...claims };
    const key = signWith ?? this.#key;
    if (key === undefined) throw new Error('it has no key');
    return await new SignJWT(JSON.parse(JSON.stringify(all)))
      .setProtectedHeader({ typ: 'JWT', alg: this.algorithm, kid: this.#keyId, ...header })
      .sign(key);
  }

  /** As the owners describe it, its keys pinned. */
  pinned(over: object = {}): object {
    return { ...this.described(), jwks: { keys: this.keys }, ...over };
  }

  /** The same, without a word of where its keys are. */
  described(): object {
    return {
      issuer: this.url,
      kind: 'github',
      algorithms: [this.algorithm],
      principals: [
        {
          principal: 'ci.github.{repository}.{ref}',
          claims: { repository: 'acme/app', repository_owner_id: '42', ref: 'refs/heads/*' },
        },
      ],
    } satisfies Partial<Issuer>;
  }
}

/** What GitHub says of a job of acme/app on its main branch. */
export const githubClaims = {
  sub: 'repo:acme/app:ref:refs/heads/main',
  repository: 'acme/app',
  repository_id: '7',
  repository_owner_id: '42',
  ref: 'refs/heads/main',
};

/** Whom that is, as `TestIssuer.described` has it. */
export const githubPrincipal = 'spiffe://csc.local/client/ci.github.acme_2fapp.refs_2fheads_2fmain';

/** A server on loopback that answers as `answer` says; close it. */
export async function serve(
  answer: (
    url: string,
    headers: NodeJS.Dict<string | string[]>,
  ) => { status?: number; body?: string; location?: string } | undefined,
  tls?: { readonly cert: string; readonly key: string },
): Promise<{ readonly url: string; readonly asked: string[]; close(): void }> {
  const asked: string[] = [];
  const listener: Parameters<typeof createHttpServer>[1] = (request, response) => {
    asked.push(request.url ?? '');
    const {
      status = 200,
      body = '',
      location,
    } = answer(request.url ?? '', request.headers) ?? { status: 404 };
    if (status === 101)
      response.socket?.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n',
      );
    else response.writeHead(status, location === undefined ? {} : { location }).end(body);
  };
  const server: Server = tls === undefined ? createHttpServer(listener) : createHttpsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    asked,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
