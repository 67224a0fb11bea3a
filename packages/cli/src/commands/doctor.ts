import { toProbe } from '@csc-fleet/executor/compose';
import { checkRunAs, type ExecutorConfig, readExecutorConfig } from '@csc-fleet/executor/config';
import { checkReceiptLog } from '@csc-fleet/executor/log-watch';
import { type DoctorOptions, diagnose } from '@csc-fleet/sandbox/doctor';
import type { Check } from '@csc-fleet/sandbox/host';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `
Every check really tries what it is named after; what the owners have said of this host is looked at with --config. Exit codes: 0
this host can run contracts in a sandbox, 1 it cannot.

Examples:
  $ csc doctor
  $ sudo csc doctor --run-as csc-job --json
  $ sudo csc doctor --config /etc/csc/executor.yaml
`;

export function defineDoctor(command: Command): void {
  command
    .description(
      'Tell whether this host can run contracts in a sandbox, and what to do about what is missing.',
    )
    .option('--run-as <user>', 'the account that jobs run as, as in an executor’s run_as')
    .option(
      '--config <file>',
      'an executor’s config: its run_as, pool included, its path_roots, state_dir and certificate, whether its owners have revoked it, and others’ keys around it',
    )
    .option('--json', 'print the checks as JSON')
    .addHelpText('after', help);
  act<[DoctorArguments]>(command, (options) => diagnoseHost(options));
}

interface DoctorArguments {
  /** An account's name. */
  readonly runAs?: string;
  /** An executor's config file, whose say on all of this counts. */
  readonly config?: string;
  readonly json?: boolean;
}

/** Tries what a sandbox needs of this host and prints what was found. Resolves to 0 where all is there, else to 1. */
export async function diagnoseHost({ json = false, ...named }: DoctorArguments): Promise<number> {
  const config = named.config === undefined ? undefined : readExecutorConfig(named.config);
  const checks = [
    ...(await diagnose(toOptions(named.runAs, config))),
    ...(await standingOf(named.config, config)),
  ];
  const able = checks.every(({ ok }) => ok);
  await (json ? writeJson({ able, checks }) : writeOut(describe(checks, able)));
  return able ? exitCodes.ok : exitCodes.no;
}

function toOptions(runAs: string | undefined, config: ExecutorConfig | undefined): DoctorOptions {
  if (config === undefined) return runAs === undefined ? {} : { runAs };
  checkRunAs(config);
  return { ...toProbe(config), pathRoots: config.ceiling.pathRoots };
}

// What its executor has said once, and goes on saying to nobody who does not look.
async function standingOf(
  path: string | undefined,
  config: ExecutorConfig | undefined,
): Promise<readonly Check[]> {
  if (path === undefined || config === undefined) return [];
  const { checkOpenKeys, checkPlace, checkStanding } = await import('@csc-fleet/executor/check-config');
  return [
    ...checkPlace(config),
    ...checkStanding(config),
    ...checkOpenKeys(path, config),
    ...checkReceiptLog(config.stateDir),
  ];
}

function describe(checks: readonly Check[], able: boolean): string {
  const paint = createPaint(process.stdout);
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, ok, detail, remedy }) => [
    `${ok ? paint('green', 'ok  ') : paint(['red', 'bold'], 'FAIL')}  ${name.padEnd(width)}  ${plainLine(detail)}`,
    ...(remedy === undefined ? [] : [`      ${ok ? 'Advice' : 'What to do'}: ${plainLine(remedy)}`]),
  ]);
  const verdict = able
    ? `${paint(['green', 'bold'], 'ABLE')} — this host can run contracts in a sandbox`
    : `${paint(['red', 'bold'], 'NOT ABLE')} — this host cannot run contracts in a sandbox as it is`;
  return `${lines.join('\n')}\n${verdict}\n`;
}
