import {
  type CertificateAuthorityServer,
  CertificateAuthorityService,
  Certificates,
  Fleet,
  JoinResponse,
} from '@csc-fleet/common/ca';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { certify, generateTlsKey } from '@csc-fleet/common/pki';
import {
  certificateOfCall,
  createJoinServerCredentials,
  identityOfCertificate,
  serverOptions,
  toIdentityUri,
  toServiceError,
} from '@csc-fleet/common/rpc';
import type { Log } from '@csc-fleet/common/service';
import { Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { Allowance } from './allowance.ts';
import { openAuditLog } from './audit.ts';
import { type AuthorityPorts, type IssuedPair, join, renew } from './authority.ts';
import { type CaConfig, readCaConfig } from './config.ts';
import { type DoorBounds, doorBounds, doorOptions, openDoor } from './door.ts';
import { type CaKeys, readCaKeys } from './folder.ts';
import { CaStore, type Grant } from './store.ts';

export interface CaServer {
  readonly port: number;
  close(): Promise<void>;
}

// Two certificate requests and a token, with room to spare.
const maxMessageBytes = 16 * 1024;
const maxFileBytes = 512 * 1024;

/** What a CA has of its surroundings. */
export interface CaSurroundings {
  readonly clock: Clock;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonicMs: () => number;
  readonly bounds: DoorBounds;
}

/**
 * Serves a CA. Throws FILE_UNREADABLE, FILE_UNWRITABLE, STORE_UNAVAILABLE, or CONFIG_INVALID where its files do not belong
 * together, its hosts are not permitted, or it cannot listen.
 */
export async function startCa(
  config: CaConfig,
  log: Log,
  {
    clock = systemClock,
    monotonicMs = () => performance.now(),
    bounds = doorBounds,
  }: Partial<CaSurroundings> = {},
): Promise<CaServer> {
  const keys = readCaKeys(config);
  readFleet(config);
  const store = new CaStore(config.stateDir);
  const audit = openAuditLog(config.stateDir, () => clock.now());
  const ports = { keys, trustDomain: config.trustDomain, lifeMs: config.lifeMs, store, audit, clock };
  const own = await ownCertificate(config, keys, clock.now());
  const credentials = createJoinServerCredentials(own.context, bounds.connections.handshakeTimeoutSec);
  const server = new Server({
    ...serverOptions,
    'grpc.max_receive_message_length': maxMessageBytes,
    ...doorOptions(bounds),
  });
  server.addService(CertificateAuthorityService, serve(ports, config, log, new Allowance(monotonicMs)));
  const door = await openDoor(server, credentials, config.listen, bounds, log);
  // Its own certificate ends as any other, and is made anew long before.
  const timer = setInterval(
    () => {
      ownCertificate(config, keys, clock.now()).then(
        ({ context }) => credentials.rotate(context),
        (error: unknown) => log.error({ error }, 'the certificate of this CA’s server could not be renewed'),
      );
    },
    Math.min(config.lifeMs / 2, 12 * 3600 * 1000),
  ).unref();
  return {
    port: door.port,
    close: async () => {
      clearInterval(timer);
      door.close(2000);
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), 2000).unref();
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      });
      store.close();
      audit.close();
    },
  };
}

// The key is in memory alone. The root is in the chain, so that whoever has its hash alone sees it.
async function ownCertificate({ trustDomain, hosts }: CaConfig, keys: CaKeys, now: Date) {
  const key = generateTlsKey();
  const subject = { trustDomain, role: 'ca', name: 'ca', labels: {}, hosts } as const;
  const { pem } = await certify(subject, 'tls', key, keys, { now, lifeMs: ownLifeMs });
  const context = {
    ca: [keys.rootPem],
    cert: [`${pem}${keys.issuingPem}${keys.rootPem}`],
    key: [key.export({ type: 'pkcs8', format: 'pem' })],
    minVersion: 'TLSv1.3',
  } as const;
  return { context: { ...context, ca: [...context.ca], cert: [...context.cert], key: [...context.key] } };
}

const ownLifeMs = 24 * 3600 * 1000;

function serve(
  ports: AuthorityPorts,
  config: CaConfig,
  log: Log,
  allowance: Allowance,
): CertificateAuthorityServer {
  const logError = (id: string, error: unknown): void => log.error({ error, error_id: id }, 'internal error');
  const answering =
    <Request, Response>(
      refused: 'a join was refused' | 'a renewal was refused',
      answer: (call: ServerUnaryCall<Request, Response>, from: string) => Promise<Response>,
    ) =>
    (call: ServerUnaryCall<Request, Response>, done: sendUnaryData<Response>): void => {
      const from = call.getPeer();
      const run = async (): Promise<Response> => {
        allowance.take(from);
        return answer(call, from);
      };
      run().then(
        (response) => done(null, response),
        (error: unknown) => {
          const status = toServiceError(error, logError);
          // What is refused says no token: see errors.
          log.warn({ address: from, why: status.details }, refused);
          done(status);
        },
      );
    };
  return {
    join: answering('a join was refused', async ({ request }, from) => {
      const encode = (issued: IssuedPair, grant: Grant): Uint8Array =>
        JoinResponse.encode({
          certificates: toCertificates(ports.keys, issued),
          identity: toIdentityUri(ports.trustDomain, grant.role, grant.name),
          labels: { ...grant.labels },
          fleet: undefined,
        }).finish();
      // As it is now, also for whoever asks again: the owners may have left it here meanwhile. First, as it may fail.
      const fleet = readFleet(config);
      const response = { ...JoinResponse.decode(await join(ports, request, from, encode)), fleet };
      log.info({ identity: response.identity, address: from }, 'joined');
      return response;
    }),
    renew: answering('a renewal was refused', async (call, from) => {
      const certificate = certificateOfCall(call);
      if (certificate === undefined) {
        const message =
          'the certificate has ended, or is not of this CA: join with a new token (csc ca token --again)';
        throw new CscError('NO_CREDENTIALS', message);
      }
      const issued = await renew(ports, call.request, certificate, from);
      const { uri: identity } = identityOfCertificate(certificate);
      log.info({ identity, until: issued.tls.notAfter.toISOString(), address: from }, 'renewed');
      return { certificates: toCertificates(ports.keys, issued) };
    }),
  };
}

function toCertificates({ issuingPem, rootPem }: CaKeys, { tls, receipts }: IssuedPair): Certificates {
  return Certificates.create({
    tls: `${tls.pem}${issuingPem}`,
    receipt: receipts === undefined ? '' : `${receipts.pem}${issuingPem}`,
    ca: rootPem,
    notAfter: tls.notAfter,
  });
}

/** What stands in the config's file now. Throws FILE_UNREADABLE, CONFIG_INVALID. */
function readFleet({ file }: CaConfig): Fleet {
  const { gate = '', gateKeys, policyRoot } = readCaConfig(file).fleet;
  const read = (path: string | undefined): Buffer =>
    path === undefined ? Buffer.alloc(0) : readBoundedFile(path, { maxBytes: maxFileBytes }).bytes;
  return Fleet.create({ gateAddress: gate, gateKeys: read(gateKeys), policyRoot: read(policyRoot) });
}
