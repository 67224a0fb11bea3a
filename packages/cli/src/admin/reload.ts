import { setTimeout as sleep } from 'node:timers/promises';
import { pathIn, readConfig } from '@csc-fleet/common/config';
import { CscError } from '@csc-fleet/common/errors';
import { type ReloadOutcome, readServiceRecord } from '@csc-fleet/common/service';
import type { Command } from 'commander';
import * as z from 'zod';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `
Has the gate or executor of this host that runs with a config read again what a reload is for: policies, bindings,
certificates, keys, secrets and the log level, all of it or nothing, as SIGHUP does. Certificates and keys are taken up
within seconds without it. Exit codes: 0 reloaded, 1 refused, and what was loaded before goes on.

Examples:
  $ csc admin reload --config gate.yaml
  $ csc admin reload --config /etc/csc/executor.yaml --json
`;

interface ReloadOptions {
  readonly config: string;
  readonly json?: true;
}

/** Adds `csc admin reload`. */
export function defineReload(admin: Command): void {
  const command = admin
    .command('reload')
    .summary('have the gate or executor of this host read its files again')
    .description('Have a running gate or executor of this host read its files again.')
    .requiredOption('--config <file>', 'the config file that it runs with')
    .option('--json', 'print what came of it as JSON')
    .addHelpText('after', help);
  act<[ReloadOptions]>(command, reload);
}

async function reload({ config, json }: ReloadOptions): Promise<number> {
  const outcome = await askForReload(directoryOf(config));
  if (json === true) await writeJson(outcome);
  else await writeOut(`${plainLine(tell(outcome))}\n`);
  return outcome.outcome === 'reloaded' ? exitCodes.ok : exitCodes.no;
}

function tell({ outcome, error = '', fields = {} }: ReloadOutcome): string {
  if (outcome === 'refused') return `not reloaded: ${error}; what was loaded before goes on`;
  const details = Object.entries(fields).filter(([, value]) => !Array.isArray(value) || value.length > 0);
  return `reloaded${details.map(([name, value]) => `; ${name}: ${String(value).replaceAll(',', ', ')}`).join('')}`;
}

// A config that a reload refuses still says where its service keeps its record.
function directoryOf(config: string): string {
  const path = pathIn(config);
  const schema = z.looseObject({ data_dir: path.exactOptional(), state_dir: path.exactOptional() });
  const { data_dir: data, state_dir: state } = readConfig(config, schema);
  const directory = data ?? state;
  if (directory !== undefined) return directory;
  throw new CscError(
    'CONFIG_INVALID',
    `${config} has neither the data_dir of a gate nor the state_dir of an executor`,
  );
}

const waitMs = 15_000;
const lookMs = 25;

/** What comes of a reload that began after it was asked for: another one may be under way, and have read the files of before. */
export async function askForReload(directory: string): Promise<ReloadOutcome> {
  const { process: service } = readServiceRecord(directory);
  const asked = process.hrtime.bigint();
  signal(Number.parseInt(service, 10));
  const until = performance.now() + waitMs;
  while (performance.now() < until) {
    const { process: now, last } = readServiceRecord(directory);
    if (now === service && last?.why === 'asked' && BigInt(last.begunNs) >= asked) return last;
    await sleep(lookMs);
  }
  throw new CscError(
    'DEADLINE_EXCEEDED',
    'the service was asked to reload, and has not said what came of it',
  );
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGHUP');
  } catch (cause) {
    const message = `the service (process ${pid}) belongs to another user: ask as that user or as root`;
    throw new CscError('NOT_PERMITTED', message, { cause });
  }
}
