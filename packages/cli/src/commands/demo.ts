import { showInvisible } from '@csc-fleet/common/errors';
import { diagnose } from '@csc-fleet/sandbox/doctor';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { type CscResult, runCsc, type Service, startService } from '../demo/csc.ts';
import type { Expectation, Scene } from '../demo/scene.ts';
import { demoScenes } from '../demo/scenes.ts';
import { type Stage, setStage } from '../demo/stage.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, formatElapsed, type Paint } from '../terminal/text.ts';
import { diagnoseHost } from './doctor.ts';

const help = `
It takes some seconds, needs no configuration, and leaves nothing behind: its files are in a temporary directory, its
gate and executor end with it. Exit codes: 0 everything went as it should, 1 something did not.

Examples:
  $ csc demo
  $ csc demo --local          on a machine without a sandbox, such as a Mac
`;

export function defineDemo(command: Command): void {
  command
    .description(
      'Show the main job end to end, with a real gate, executor and sandbox, and check every step.',
    )
    .option('--local', 'without a sandbox')
    .option('--json', 'print one JSON document a step')
    .addHelpText('after', help);
  act<[DemoOptions]>(command, playDemo);
}

interface DemoOptions {
  /** Without a sandbox, for a host that has none. */
  readonly local?: true;
  readonly json?: true;
}

/**
 * Starts a real gate and a real executor on loopback, plays every scene with real csc commands, and takes all of it
 * away again. Resolves to 0 where every expectation was met, to 1 otherwise.
 */
async function playDemo(options: DemoOptions): Promise<number> {
  const mode = options.local === true ? 'local' : 'hardened';
  if (mode === 'hardened' && !(await isAble())) return refuse();
  const since = performance.now();
  using stage = await setStage();
  const services: Service[] = [];
  using _cleanUp = cleanUpAtExit(stage, services);
  try {
    note('csc: starting a gate and an executor on this machine');
    const address = await startFleet(stage, mode, services);
    const failed = await playScenes(stage, mode, address, options.json ?? false);
    const elapsed = formatElapsed(performance.now() - since);
    if (options.json !== true) await writeOut(describeEnd(failed, elapsed, createPaint(process.stdout)));
    return failed === 0 ? exitCodes.ok : exitCodes.no;
  } finally {
    for (const service of services.toReversed()) await service.stop();
  }
}

async function isAble(): Promise<boolean> {
  return (await diagnose()).every(({ ok }) => ok);
}

async function refuse(): Promise<number> {
  await diagnoseHost({});
  note('csc: the demo needs a sandbox; csc demo --local shows the rest without one');
  return exitCodes.no;
}

async function startFleet(stage: Stage, mode: 'hardened' | 'local', services: Service[]): Promise<string> {
  const start = (name: 'gate' | 'executor', config: string, ready: RegExp): Promise<RegExpExecArray> => {
    const service = startService(name, config, ready);
    services.push(service);
    return service.ready;
  };
  const [, address = ''] = await start('gate', stage.gateConfig, /"listen":"(127\.0\.0\.1:\d+)"/);
  await start(
    'executor',
    stage.writeExecutorConfig(address, mode),
    /the owners have published something new[\s\S]*connected to the gate/,
  );
  return address;
}

/** Resolves to how many scenes did not go as they should. */
async function playScenes(
  stage: Stage,
  mode: 'hardened' | 'local',
  address: string,
  json: boolean,
): Promise<number> {
  const pki = (name: string) => `${stage.directory}/pki/${name}`;
  const env = {
    ...process.env,
    XDG_STATE_HOME: `${stage.directory}/state`,
    XDG_CONFIG_HOME: `${stage.directory}/config`,
    CSC_GATE: address,
    CSC_CA: pki('ca.pem'),
    CSC_CERT: pki('client-alice.pem'),
    CSC_KEY: pki('client-alice.key'),
    NO_COLOR: '1',
  };
  const paint = createPaint(process.stdout);
  if (!json) await writeOut(describeStage(stage, mode, address, paint));
  let failed = 0;
  for (const [index, scene] of demoScenes(stage, mode).entries()) {
    scene.prepare?.();
    const result = await withSignOfLife(scene.title, runCsc(scene.args, { cwd: stage.directory, env }));
    const unmet = scene.expect(result).filter(({ met }) => !met);
    if (unmet.length > 0) failed++;
    await (json
      ? writeJson(toJson(scene, result, unmet))
      : writeOut(describeScene(index + 1, scene, result, unmet, paint)));
  }
  return failed;
}

// A step may take long on a slow machine: silent, it would look as if it hung.
async function withSignOfLife<T>(title: string, work: Promise<T>): Promise<T> {
  const timer = setInterval(() => note(`csc: still at it: ${title}`), 5000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

function toJson(scene: Scene, result: CscResult, unmet: readonly Expectation[]): object {
  const { title, args, proves } = scene;
  const ok = unmet.length === 0;
  return { title, command: ['csc', ...args], ...result, ok, unmet: unmet.map(({ what }) => what), proves };
}

function describeStage(stage: Stage, mode: string, address: string, paint: Paint): string {
  const lines = [
    paint('bold', 'A gate and an executor, each a process of its own, on this machine'),
    `  the gate listens on ${address}, with mutual TLS; whoever calls has a certificate`,
    '  the executor has dialled the gate and listens on no port',
    '  policies are signed by the fleet’s owners, and submissions by alice: the executor verifies both, and believes no gate',
    mode === 'local'
      ? paint('yellow', '  LOCAL MODE: no sandbox; what runs has all rights of this user')
      : '  whatever runs, runs in a sandbox that shows what its contract declares and nothing else',
    `  all files are in ${stage.directory}, and go with the demo`,
  ];
  return `${lines.join('\n')}\n`;
}

function describeScene(
  number: number,
  { title, args, proves }: Scene,
  result: CscResult,
  unmet: readonly Expectation[],
  paint: Paint,
): string {
  const shown = [result.stdout, result.stderr]
    .map((text) => showInvisible(text).trimEnd())
    .filter((text) => text !== '');
  const output = shown.flatMap((text) => text.split('\n')).map((line) => `    ${line}`);
  const verdict =
    unmet.length === 0
      ? `  ${paint('green', '✓')} ${proves}`
      : unmet.map(({ what }) => `  ${paint(['red', 'bold'], '✗')} not so: ${what}`).join('\n');
  return [
    '',
    paint('bold', `${number}. ${title}`),
    `  $ csc ${args.join(' ')}`,
    ...output,
    `    exit code ${result.exitCode}`,
    verdict,
    '',
  ].join('\n');
}

function describeEnd(failed: number, elapsed: string, paint: Paint): string {
  return failed === 0
    ? `\n${paint(['green', 'bold'], 'All of it went as it should')}, in ${elapsed}. Next: csc --help, and the README.\n`
    : `\n${paint(['red', 'bold'], `${failed} of the steps above did not go as they should`)}.\n`;
}

// Whoever stops the demo in the middle, or reads no further, must not be left with a gate that runs on.
function cleanUpAtExit(stage: Stage, services: readonly Service[]): Disposable {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (): never => process.exit(exitCodes.interrupted);
  const onExit = (): void => {
    for (const service of services) service.kill();
    stage[Symbol.dispose]();
  };
  for (const signal of signals) process.on(signal, onSignal);
  process.on('exit', onExit);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal);
      process.off('exit', onExit);
    },
  };
}
