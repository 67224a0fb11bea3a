import { join } from 'node:path';
import { caAnswerMs, renewOnce, startRenewal } from '@csc-fleet/common/ca';
import { CscError } from '@csc-fleet/common/errors';
import { validityOf } from '@csc-fleet/common/identity';
import { createJsonLog } from '@csc-fleet/common/json-log';
import { TlsSource } from '@csc-fleet/common/rpc';
import { exitCodes } from '../action/exit-codes.ts';
import { joinedCaOf } from '../files/joined-ca.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { formatTime } from '../terminal/table.ts';
import { plainLine } from '../terminal/text.ts';

export interface RenewFlags {
  readonly pki: string;
  readonly as: string;
  readonly ca?: string;
  readonly follow?: true;
}

/** Renews a client's certificate now or, with `follow`, as often as it takes, until it is ended. Resolves to the exit code. */
export async function runRenew({ pki, as, ca, follow }: RenewFlags): Promise<number> {
  const own = join(pki, `client-${as}`);
  const files = { ca: join(pki, 'ca.pem'), cert: `${own}.pem`, key: `${own}.key` };
  const address = ca ?? joinedCaOf(files.cert);
  if (address === undefined)
    throw new CscError(
      'CONFIG_INVALID',
      `${pki} was made by no csc ca join: --ca HOST:PORT says which CA renews it`,
    );
  const tls = new TlsSource(files);
  if (follow !== true) {
    note(plainLine(`csc: waiting for the CA at ${address}, ${caAnswerMs / 1000} s at most`));
    const { until } = validityOf(await renewOnce({ address, tls, files }));
    await writeOut(`${files.cert} is certified until ${formatTime(until)}\n`);
    return exitCodes.ok;
  }
  const log = createJsonLog('info', { name: 'csc-ca-renew', pid: process.pid });
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  // Its timers keep nobody alive.
  const alive = setInterval(() => tls.looksChanged && tls.prepare()?.(), 5_000);
  const renewal = startRenewal({ address, tls, files, log });
  log.info(
    { until: validityOf(tls.material.own.certificate).until.toISOString() },
    'renewing the certificate',
  );
  await stopped;
  renewal.stop();
  clearInterval(alive);
  return exitCodes.ok;
}
