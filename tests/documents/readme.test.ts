import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { csc, cscBin, repository, Service } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// What a newcomer has: the files of a clone, and what make setup has put beside them.
const home = mkdtempSync(join(tmpdir(), 'csc-readme-'));
const clone = join(home, 'clone');
const workspace = join(home, 'workspace');
const services: Service[] = [];
/** Where the README says what cannot be so in a test: the host's own directories, accounts and names. */
let stands: readonly (readonly [string, string])[] = [];

beforeAll(async () => {
  chmodSync(home, 0o755);
  mkdirSync(clone);
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: repository, maxBuffer: 2 ** 24 });
  const tar = execFileSync('tar', ['-c', '--null', '-T', '-'], {
    cwd: repository,
    input: tracked,
    maxBuffer: 2 ** 28,
  });
  execFileSync('tar', ['-x', '-C', clone], { input: tar });
  symlinkSync(join(repository, 'node_modules'), join(clone, 'node_modules'));
  const port = String(await freePort());
  stands = [
    ['/workspace', workspace],
    ['/var/lib/csc', join(home, 'lib')],
    ['gate.example.org', 'localhost'],
    ['0.0.0.0', '127.0.0.1'],
    ['7443', port],
    // No account is made on a host for a test.
    ['run_as: { user: csc-job }', 'run_as: auto'],
    [' --run-as csc-job', ''],
    // What it leaves to its reader.
    ['run CONTRACT POLICY', 'run examples/contracts/git-status.json policies/inspect.yaml'],
  ];
  const files = [...listed('policies'), ...listed('examples')];
  execFileSync('sed', ['-i', `s#/workspace#${workspace}#g`, ...files], { cwd: clone });
  leaveOutSamples();
});
afterAll(async () => {
  for (const it of services) await it.stop('SIGKILL');
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
});

// What profiles are held against works in /workspace where it does not say otherwise; it has tests of its own.
function leaveOutSamples(): void {
  for (const file of listed('policies')) if (file.endsWith('.samples.yaml')) rmSync(join(clone, file));
}

function listed(folder: string): string[] {
  return execFileSync('git', ['ls-files', folder], { cwd: repository, encoding: 'utf8' }).trim().split('\n');
}

const readme = readFileSync(join(repository, 'README.md'), 'utf8');
const section = readme.slice(
  readme.indexOf('## One machine, no server'),
  readme.indexOf('\n## From a program'),
);

/** The commands of the first steps, in order. */
const commands = section.match(/^ {4,}(?:csc|cp|useradd) .*$/gm)?.map((line) => line.trim()) ?? [];
/** Its config files, in order: a gate's and an executor's. */
const configs = [...section.matchAll(/^ {3}```yaml\n([\s\S]*?)^ {3}```$/gm)].map(([, text = '']) => text);

function here(text: string): string {
  return stands.reduce((said, [theirs, ours]) => said.replaceAll(theirs, ours), text);
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  HOME: home,
  XDG_CONFIG_HOME: join(home, 'config'),
  XDG_STATE_HOME: join(home, 'state'),
});

async function run(command: string): Promise<string> {
  const cwd = clone;
  const [, words] = /^csc (.*)$/.exec(here(command)) ?? [];
  if (words === undefined)
    return execFileSync('bash', ['-ec', here(command)], { cwd, encoding: 'utf8', stdio: 'pipe' });
  // The words as a shell makes them; the command itself in a process that is there already.
  const split = execFileSync('bash', ['-ec', `printf '%s\\0' ${words}`], { cwd, encoding: 'utf8' });
  const { code, stdout, stderr } = await csc(split.split('\0').slice(0, -1), { cwd, env: environment() });
  expect({ command, code, stderr }).toEqual({ command, code: 0, stderr });
  return stdout;
}

describe('the README, followed by a newcomer', () => {
  it('works as written, up to the first job of a fleet', async () => {
    const [gate = '', executor = ''] = configs;
    writeFileSync(join(clone, 'gate.yaml'), here(gate));
    writeFileSync(join(clone, 'executor.yaml'), here(executor));
    expect(readme).toContain('`git init /workspace`');
    await run('git init -q /workspace');
    const said = new Map<string, string>();
    for (const command of commands) {
      const service = /^csc (gate|executor) --config (\S+)$/.exec(command);
      if (service !== null) await start(service[1] ?? '', join(clone, service[2] ?? ''));
      else if (!command.startsWith('useradd ')) said.set(command, await run(command));
    }
    const of = (start: string): string =>
      [...said].find(([command]) => command.startsWith(start))?.[1] ?? `there is no ${start}`;
    expect(of('csc check')).toContain('ALLOW');
    expect(of('csc verify-receipt')).toMatch(/valid/i);
    expect(of('csc submit')).toMatch(/branch|commits/i);
    expect(commands.length).toBeGreaterThan(9);
  });
});

async function start(name: string, config: string): Promise<void> {
  const service = new Service(
    `the ${name}`,
    [name, '--config', config],
    // As a clone has it; the other one is the same command, which takes less time where it is built.
    name === 'gate' ? join(clone, 'packages/cli/bin/csc.js') : cscBin,
  );
  services.push(service);
  await service.waitFor(name === 'gate' ? /listening/ : /"msg":"connected/);
}
