import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import type { DevelopmentPki, DevelopmentPkiOptions } from '@csc-fleet/common/pki';
import { exitCodes } from '../exit-codes.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';

export interface PkiInitOptions {
  readonly host: readonly string[];
  readonly client: readonly string[];
  readonly executor: readonly string[];
  readonly gateName: string;
  readonly trustDomain: string;
  readonly json?: true;
}

export interface PkiIssueOptions {
  readonly dir: string;
  readonly trustDomain: string;
  readonly json?: true;
}

/** Makes a CA and the certificates named, those of them that are not there yet. */
export async function makePki(dir: string, options: PkiInitOptions): Promise<number> {
  const { host, client, executor, gateName, trustDomain, json } = options;
  const pki = await extendPki(dir, {
    clients: client,
    executors: executor,
    gate: gateName,
    trustDomain,
    ...(host.length === 0 ? {} : { hosts: host }),
  });
  return report(pki, json ?? false);
}

/** Issues one certificate more. Throws CONFIG_INVALID where the directory has no CA. */
export async function issueInto(
  role: 'client' | 'executor',
  name: string,
  options: PkiIssueOptions,
): Promise<number> {
  if (!existsSync(join(options.dir, 'ca.key'))) {
    throw new CscError(
      'CONFIG_INVALID',
      `there is no CA in ${options.dir}: run csc pki init ${options.dir} first`,
    );
  }
  const names = role === 'client' ? { clients: [name] } : { executors: [name] };
  const pki = await extendPki(options.dir, { ...names, trustDomain: options.trustDomain });
  return report(pki, options.json ?? false);
}

// Loaded once it is needed: it takes as long as all else that a command loads.
async function extendPki(dir: string, options: DevelopmentPkiOptions): Promise<DevelopmentPki> {
  const { createDevelopmentPki } = await import('@csc-fleet/common/pki');
  return createDevelopmentPki(dir, options);
}

async function report({ ca, created }: DevelopmentPki, json: boolean): Promise<number> {
  const made = created.map(withoutSecrets);
  if (json) await writeJson({ ca: withoutSecrets(ca), created: made });
  else if (created.length === 0) await writeOut('all of it was there already\n');
  else await writeOut(made.map((path) => `made ${path}\n`).join(''));
  return exitCodes.ok;
}
