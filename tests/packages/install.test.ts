import { execFile, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { makeRoot } from '@csc-fleet/common/pki';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { repository } from '@csc-fleet/test-kit/process';
import { build } from 'esbuild';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  checkPackage,
  createPackageFromTarballData,
  type Package,
} from '../../node_modules/@arethetypeswrong/core/dist/index.js';

// Far from the workspace, so that nothing is found there by chance.
const directory = mkdtempSync(join(tmpdir(), 'csc-install-'));
const tarballs = join(directory, 'tarballs');
const packages = ['cli', 'client', 'common', 'executor', 'gate', 'sandbox'];
let fleet: Fleet;
const run = promisify(execFile);

beforeAll(async () => {
  await run(process.execPath, [join(repository, 'scripts/pack/pack-all.ts'), tarballs]);
  // Mostly the registry is waited for.
  [fleet] = await Promise.all([
    startFleet({ executors: [{ name: 'host' }] }),
    install('agent', ['common', 'client']),
    unpack('host', packages),
  ]);
}, 240_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

function tarball(name: string): string {
  return join(tarballs, `csc-fleet-${name}-${version}.tgz`);
}

const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string };

async function install(folder: string, names: readonly string[]): Promise<void> {
  const path = join(directory, folder);
  mkdirSync(path);
  writeFileSync(join(path, 'package.json'), '{ "private": true }');
  const args = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  await run('npm', [...args, ...names.map(tarball)], { cwd: path });
}

/** Unpacks packages beside what they say that they stand on, as npm would lay them out; npm takes twenty times as long. */
async function unpack(folder: string, names: readonly string[]): Promise<void> {
  const modules = join(directory, folder, 'node_modules');
  const needed = new Set<string>();
  for (const name of names) {
    const home = join(modules, '@csc-fleet', name);
    mkdirSync(home, { recursive: true });
    await run('tar', ['-xzf', tarball(name), '--strip-components=1', '-C', home]);
    const { dependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as Manifest;
    for (const it of Object.keys(dependencies)) if (!it.startsWith('@csc-fleet/')) needed.add(it);
  }
  for (const it of needed) {
    mkdirSync(dirname(join(modules, it)), { recursive: true });
    symlinkSync(realpathSync(join(repository, 'node_modules', it)), join(modules, it));
  }
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
}

/** Runs a program of this text in a folder where packages are installed; gives what it prints. */
function runAs(node: string, name: string, text: string, folder = 'agent'): string {
  const cwd = join(directory, folder);
  writeFileSync(join(cwd, name), text);
  const env = { ...process.env, XDG_STATE_HOME: join(directory, 'state') };
  const { status, stdout, stderr } = spawnSync(node, [name], { cwd, env, encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`${name} ended with ${status}:\n${stderr}`);
  return stdout;
}

/** What the examples take for granted: the gate's address, the client's files, a contract. */
function setting(): string {
  const { ca, cert, key } = fleet.tls('alice');
  const contract = fleet.contract({ argv: ['echo', 'from far away'] });
  return Object.entries({ address: fleet.address, ca, cert, key, contract })
    .map(([name, value]) => `const ${name} = ${JSON.stringify(value)};\n`)
    .join('');
}

/** The README's example that begins by importing `name`. */
function exampleOf(name: string): { readonly imports: string; readonly rest: string } {
  const readme = readFileSync(join(repository, 'README.md'), 'utf8');
  const example = readme.split('```ts\n').find((it) => it.startsWith(`import { ${name} }`)) ?? '';
  const [imports = '', ...rest] = example.slice(0, example.indexOf('```')).split('\n');
  return { imports, rest: rest.join('\n') };
}

const nodes = [20, 22].map((major) =>
  join(import.meta.dirname, `node_modules/node${major}-linux-${arch()}/bin/node`),
);

describe('the client, installed from its tarball', () => {
  const running = `
    const client = connect({ address, tls: { ca, cert, key } });
    const handlers = { onStdout: (data) => void process.stdout.write(data) };
    const ran = client.run(contract, { handlers }).then(({ exitCode, receipt }) => {
      console.log(exitCode, receipt.status);
      client.close();
    });`;

  it.each([...nodes, process.execPath])('runs a contract by import and by require: %s', (node) => {
    const imported = `import { connect } from '@csc-fleet/client';\n${setting()}${running}\nawait ran;`;
    writeFileSync(join(directory, 'agent/program.mjs'), imported);
    const required = `const { connect } = require('@csc-fleet/client');\n${setting()}${running}`;
    // One process of both: what the two load is apart all the same.
    const both = `${required}\nran.then(() => import('./program.mjs'));`;
    expect(runAs(node, 'program.cjs', both)).toBe('from far away\n0 success\n'.repeat(2));
  });

  it("runs the README's example, word for word", () => {
    const { imports, rest } = exampleOf('connect');
    const program = `${imports}\n${setting()}${rest}\nconsole.log(decision.verdict, exitCode, receipt.status);`;
    expect(runAs(process.execPath, 'readme.mts', program)).toBe('from far away\n1 0 success\n');
  });

  it.each([...nodes, process.execPath])(
    'reads the name constraints of a CA, and loads what for where one has some: %s',
    async (node) => {
      const hosts: string[] = [];
      const [own, other] = await Promise.all(
        ['a.example', 'b.example'].map((trustDomain) => makeRoot({ trustDomain, hosts }, new Date())),
      );
      const pem = { own: own?.pem, other: other?.pem, bare: readFileSync(fleet.tls('alice').cert, 'utf8') };
      const program = `
      const ders = Object.values(${JSON.stringify(pem)}).map((it) => new X509Certificate(it).raw);
      const [own, other, bare] = ders;
      const told = (issuer, leaf) => { try { return checkNames(issuer, leaf) ?? 'within'; } catch (error) { return error.code; } };
      const loaded = () => Object.keys(require.cache).some((it) => it.includes('@peculiar'));
      const before = [told(bare, own), loaded()];
      console.log(...before, told(own, own), told(own, other), loaded());`;
      const from = "'@csc-fleet/common/evidence'";
      const required = `const { checkNames } = require(${from}), { X509Certificate } = require('crypto');`;
      const imported = `import { checkNames } from ${from}; import { X509Certificate } from 'crypto'; import { createRequire } from 'module';
      const require = createRequire(import.meta.url);`;
      for (const [name, head] of [
        ['names.cjs', required],
        ['names.mjs', imported],
      ] as const)
        expect(runAs(node, name, `${head}${program}`)).toBe('within false within RECEIPT_INVALID true\n');
    },
  );

  // Of what a program may do with a result without another package of ours, and what it is to be told about an error.
  const typed = `
    import { CscError, ExecutionState, isCscError, meaningOf, Verdict, connect } from '@csc-fleet/client';
    import type { CommandContract, Decision, Execution, ExecutionReceipt, Fault, GateClient } from '@csc-fleet/client';
    import { verifyReceipt } from '@csc-fleet/client/offline';
    export async function end(client: GateClient, contract: CommandContract): Promise<ExecutionReceipt | undefined> {
      const { decision, execution, receipt } = await client.run(contract);
      const told: [Decision | undefined, Execution] = [decision, execution];
      if (told[0]?.verdict === Verdict.DENY || told[1].state !== ExecutionState.SUCCEEDED) return undefined;
      return receipt;
    }
    export function faultsOf(error: unknown): readonly Fault[] {
      return isCscError(error) || error instanceof CscError ? error.faults : [];
    }
    export const remedyOf = (error: CscError): string => meaningOf(error.code).remedy;
    export const functions = [connect, verifyReceipt];`;

  it.each([
    { module: 'node16', moduleResolution: 'node16' },
    { module: 'esnext', moduleResolution: 'bundler' },
  ])('has types that a strict project reads whole: $moduleResolution', async (how) => {
    const home = join(directory, 'agent', `typed-${how.moduleResolution}`);
    mkdirSync(home);
    // An import in a file of CommonJS is a require.
    for (const name of ['imported.mts', 'required.cts']) writeFileSync(join(home, name), typed);
    const compilerOptions = { ...how, strict: true, skipLibCheck: false, noEmit: true, types: ['node'] };
    writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
    const tsc = join(repository, 'node_modules/.bin/tsc');
    const { stdout } = await run(tsc, ['-p', home]).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  });

  it('is bundled with what it stands on and nothing else', async () => {
    const [entry, outfile] = ['bundled-from.cjs', 'bundled.cjs'].map((it) => join(directory, 'agent', it));
    writeFileSync(
      entry ?? '',
      "const { connect, meaningOf } = require('@csc-fleet/client'); console.log(typeof connect, meaningOf('CANCELLED').means.length > 0);",
    );
    await build({
      entryPoints: [entry ?? ''],
      outfile: outfile ?? '',
      bundle: true,
      platform: 'node',
      logLevel: 'silent',
    });
    const elsewhere = join(directory, 'bundled');
    mkdirSync(elsewhere);
    renameSync(outfile ?? '', join(elsewhere, 'bundled.cjs'));
    const { stdout } = await run(process.execPath, ['bundled.cjs'], { cwd: elsewhere });
    expect(stdout).toBe('function true\n');
  });

  it('brings no YAML, no library for keys and certificates, and no second Ed25519', () => {
    const modules = join(directory, 'agent/node_modules');
    const installed = [
      ...readdirSync(modules),
      ...readdirSync(join(modules, '@peculiar'), { encoding: 'utf8' }).map((it) => `@peculiar/${it}`),
    ];
    expect(installed).toContain('@peculiar/asn1-x509');
    for (const name of [
      'yaml',
      '@peculiar/x509',
      '@noble',
      'pino',
      'reflect-metadata',
      'kysely',
      'commander',
    ])
      expect(installed).not.toContain(name);
  });
});

describe('csc, unpacked from its tarball', () => {
  it('decides and runs', () => {
    const csc = join(directory, 'host/node_modules/@csc-fleet/cli/bin/csc.js');
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [csc, ...args], { cwd: directory, encoding: 'utf8' });
    expect(run('--version').stdout.trim()).toBe(version);
    const contract = fleet.write(
      'installed.json',
      JSON.stringify(fleet.contract({ argv: ['echo', 'here'] })),
    );
    const policy = join(fleet.directory, 'policies/tests.yaml');
    const receipt = join(directory, 'receipt.json');
    const { status, stdout, stderr } = run('run', contract, policy, '--receipt-out', receipt);
    expect(stderr).not.toMatch(/error/i);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'here\n' });
  });

  it('runs a contract in its own process, as the README has it', () => {
    const contract = JSON.stringify(fleet.contract({ argv: ['echo', 'in here'] }));
    const policy = readFileSync(join(fleet.directory, 'policies/tests.yaml'), 'utf8');
    const { imports, rest } = exampleOf('runContract');
    const setting = `const contract = ${JSON.stringify(contract)}, policy = ${JSON.stringify(policy)};`;
    const program = `${imports}\n${setting}\n${rest}\nconsole.log(exitCode, receipt.status, receipt.execution_mode, withheld);`;
    expect(runAs(process.execPath, 'readme.mts', program, 'host')).toBe('0 success hardened undefined\n');
  });
});

describe('every tarball', () => {
  // What has no `require`, and says so: the services run on Node 24, which can require ES modules.
  const esmOnly = new Set(['cli', 'executor', 'gate', 'sandbox']);

  it.each(packages)('%s has no fault that publint knows', async (name) => {
    const { messages } = await publint({ pack: { tarball: toArrayBuffer(readFileSync(tarball(name))) } });
    expect(messages).toEqual([]);
  });

  it.each(packages)('%s has types that every resolution finds', async (name) => {
    const checked = await checkPackage(readPackage(tarball(name)));
    if (checked.types === false) throw new Error(`${name} has no types`);
    const ignored = ['node10', ...(esmOnly.has(name) ? ['node16-cjs'] : [])];
    const faults = checked.problems.filter(
      (it) => !('resolutionKind' in it && ignored.includes(it.resolutionKind)),
    );
    expect(faults).toEqual([]);
  });
});

/** A package that knows its folders: by itself it looks through all files for each that it is asked about. */
function readPackage(path: string): Package {
  const read = createPackageFromTarballData(readFileSync(path));
  const folders = new Set<string>();
  for (const file of read.listFiles())
    for (let it = dirname(file); it.length > 1; it = dirname(it)) folders.add(it);
  read.directoryExists = (folder) => folders.has(folder.replace(/\/$/, ''));
  return read;
}

function toArrayBuffer(bytes: Buffer): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
