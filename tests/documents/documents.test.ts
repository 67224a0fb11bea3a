import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { contractSha256, parseContract } from '@csc-fleet/common/contract';
import { createKeyRing, createSigner, generateKeyPair, toBase64 } from '@csc-fleet/common/crypto';
import { orThrow, reasons } from '@csc-fleet/common/errors';
import { openSubmission } from '@csc-fleet/common/evidence';
import { parseIssuers } from '@csc-fleet/common/owners';
import { parseBindings } from '@csc-fleet/common/policy';
import { version } from '@csc-fleet/common/version';
import { readExecutorConfig } from '@csc-fleet/executor/config';
import { defaultOutputLimits } from '@csc-fleet/executor/limits';
import { readGateConfig } from '@csc-fleet/gate/config';
import { copiedEtc, defaultReserve, defaultRunLimits, liveEtc, madeUpEtc } from '@csc-fleet/sandbox/plan';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { house } from '../../scripts/rooms.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const listed = (...patterns: string[]): string[] =>
  execFileSync('git', ['ls-files', ...patterns], { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
const documents = listed('*.md');

/** The YAML blocks of a document without the indentation of a list that they stand in. */
function blocksOf(document: string): string[] {
  return [...read(document).matchAll(/^( *)```yaml\n(.*?)^ *```/gms)].map(([, indent = '', text = '']) =>
    text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
}

function asFile(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'csc-documents-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  return file;
}

describe('the table of what sandboxes show of /etc', () => {
  it.each([
    ['as it is', liveEtc],
    ['copied', copiedEtc],
    ['made up', madeUpEtc],
  ])('says of each path that is %s why', (_, entries) => {
    const document = read('docs/sandbox-etc.md');
    const missing = entries.filter(({ path, why }) => !document.includes(`| \`${path}\` | ${why} |`));
    expect(missing).toEqual([]);
  });
});

describe('the configs that are shown', () => {
  it('in the README and in docs/fleet.md are ones that gate and executor read, with the defaults as their numbers', () => {
    const [gate = '', executor = '', ...rest] = blocksOf('README.md');
    const [ownersWord = '', ...more] = blocksOf('docs/fleet.md');
    expect([...rest, ...more]).toEqual([]);
    expect(readGateConfig(asFile(gate)).listen).toBe('0.0.0.0:7443');
    const { runLimits, reserve, ceiling } = readExecutorConfig(asFile(`${executor}\n${ownersWord}`));
    // What depends on the host is an example.
    const { cpu_millis, open_files, ...fixed } = defaultRunLimits();
    expect(runLimits).toMatchObject(fixed);
    expect(reserve).toEqual(defaultReserve);
    expect(ceiling.network).toBe('allowlisted');
  });

  it('in deploy/ are ones that gate and executor read, with the defaults as their numbers', () => {
    const defaults = readGateConfig(asFile('data_dir: d\npolicies: p\nbindings: b\n'));
    const gate = readGateConfig(join(root, 'deploy/config/gate.yaml'));
    expect(gate.limits).toEqual(defaults.limits);
    expect([gate.acceptUnsignedApprovals, gate.dualControl]).toEqual([false, 'refuse']);
    const executor = readExecutorConfig(join(root, 'deploy/config/executor.yaml'));
    const { cpu_millis, open_files, ...fixed } = defaultRunLimits();
    expect(executor.runLimits).toMatchObject(fixed);
    expect(executor.reserve).toEqual(defaultReserve);
    expect(executor.limits).toEqual(defaultOutputLimits);
    expect([executor.acceptUnsignedApprovals, executor.dualControl]).toEqual([false, 'refuse']);
  });
});

describe('what the documents name', () => {
  it.each(documents)('%s links to what there is', (document) => {
    const links = [...read(document).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(
      ([, target = '']) => target,
    );
    expect(links.filter((target) => !existsSync(join(root, dirname(document), target)))).toEqual([]);
  });

  // As from the root, from the document's folder, or from the sources of a package that its text is about.
  it.each(documents)('%s names files that there are', (document) => {
    const places = [
      '',
      dirname(document),
      ...['common', 'gate', 'sandbox', 'executor', 'client'].map((it) => `packages/${it}/src`),
    ];
    const paths = [
      ...read(document).matchAll(
        /`((?:packages|tests|scripts|docs|deploy|policies|proto|examples)\/[\w./-]+)`/g,
      ),
    ];
    const steps =
      document === 'docs/data-path.md' ? [...read(document).matchAll(/`([\w-]+(?:\/|\/?[\w-]+\.ts))`/g)] : [];
    const names = [...paths, ...steps].map(([, name = '']) => name).filter((name) => !generated.has(name));
    expect(names.filter((name) => !places.some((place) => existsSync(join(root, place, name))))).toEqual([]);
  });

  it.each(Object.entries(house))(
    'docs/architecture.md says what each room of %s is for',
    (name, { rooms = {} }) => {
      const text = read('docs/architecture.md');
      const [, table = ''] =
        new RegExp(
          `^\\| room of .packages/${name}/src. [^]*?^\\| --- [^\\n]*\\n([^]*?)(?:\\n\\n|$(?![^]))`,
          'm',
        ).exec(text) ?? [];
      const named = new Set([...table.matchAll(/`([\w./-]+)`/g)].map(([, room]) => room));
      expect(Object.keys(rooms).filter((room) => !named.has(room))).toEqual([]);
    },
  );

  // After an empty line a row is no row any more: it is shown as a line of text.
  it.each(documents)('%s has whole tables', (document) => {
    const lost = [...read(document).matchAll(/\n\n(\|.*)\n(?!\| *---)/g)].map(([, row]) => row);
    expect(lost).toEqual([]);
  });

  it('docs/threat-model.md names tests that there are', () => {
    const sources = listed('*.ts').map(read).join('\n');
    const named = [...read('docs/threat-model.md').matchAll(/"([^"]{6,})"/g)].map(([, name = '']) => name);
    const parts = named.map((name) => name.replaceAll(/^… ?| ?…$/g, ''));
    expect(parts.filter((part) => !sources.includes(part))).toEqual([]);
    expect(parts.length).toBeGreaterThan(20);
  });

  it('docs/threat-model.md names test files that there are, in short too', () => {
    const files = listed('*.test.ts');
    const named = [...read('docs/threat-model.md').matchAll(/`([\w./-]+\.test\.ts)`/g)].map(
      ([, it = '']) => it,
    );
    expect(named.filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)))).toEqual([]);
    expect(named.length).toBeGreaterThan(20);
  });
});

// Made by a build, or on the disk of a gate or an executor.
const generated: ReadonlySet<string> = new Set([
  'packages/cli/dist',
  'spool/',
  'output/',
  'receipts/',
  'reserve/',
  'policy/',
  'pki/',
]);

describe('what programs import', () => {
  const entries = [
    'packages/client/src/index.ts',
    'packages/client/src/offline.ts',
    'packages/cli/src/index.ts',
  ];

  // `make docs` has nothing else to say of a name.
  it.each(entries)('%s exports nothing without a docstring', (entry) => {
    const exported = [...read(entry).matchAll(/^export (?:type )?\{([^}]+)\} from '(\.[^']+)'/gm)];
    const bare = exported.flatMap(([, names = '', file = '']) => {
      const source = read(join(dirname(entry), file));
      const declares = (name: string) =>
        `\\*/\\nexport (?:async )?(?:function|interface|type|const) ${name}\\b`;
      const all = names.replaceAll('type ', '').split(',');
      const found = all.map((name) => name.trim()).filter((name) => name !== '');
      return found.filter((name) => !new RegExp(declares(name)).test(source));
    });
    expect(bare).toEqual([]);
    expect(exported.length).toBeGreaterThan(1);
  });
});

it('every reason of docs/errors.md is one that something raises', () => {
  const sources = listed('packages/*/src/*.ts')
    .filter((file) => !/\.test\.ts$|\/gen\/|errors\/reasons\.ts$/.test(file))
    .map(read)
    .join('\n');
  // What is only compared with is raised by nobody.
  const isRaised = (reason: string) => new RegExp(`(?<![!=]== )'${reason}'`).test(sources);
  expect(Object.keys(reasons).filter((reason) => !isRaised(reason))).toEqual([]);
});

describe('the Python client', () => {
  it('is generated from all files that the API is in, by the command of its README', () => {
    const home = join(root, 'examples/python-client');
    const [, named = ''] =
      /grpc_tools\.protoc .*\\\n((?:.*\.proto.*\n)+)/.exec(read('examples/python-client/README.md')) ?? [];
    const files = named
      .trim()
      .split(/\s+/)
      .flatMap((pattern) => globSync(pattern, { cwd: home }));
    expect(files).toContain('../../proto/csc/gate/v1/gate.proto');
    const imported = files.flatMap((file) =>
      [...readFileSync(join(home, file), 'utf8').matchAll(/^import "(csc\/.*)";/gm)].map(([, it]) => it),
    );
    expect(files).toEqual(expect.arrayContaining(imported.map((it) => `../../proto/${it}`)));
  });

  it('hashes a contract as everybody else, with what is left out filled in', () => {
    const [source = ''] =
      /^def contract_sha256.*?(?=^def )/ms.exec(read('examples/python-client/run_contract.py')) ?? [];
    const file = join(root, 'examples/contracts/git-status.json');
    const program = `import hashlib, json\n${source}\nprint(contract_sha256(open(${JSON.stringify(file)}, "rb").read()))`;
    const hash = execFileSync('python3', ['-c', program], { encoding: 'utf8' }).trim();
    expect(hash).toBe(contractSha256(orThrow(parseContract(readFileSync(file)), 'CONTRACT_INVALID', 'it')));
    expect(JSON.parse(readFileSync(file, 'utf8'))).not.toHaveProperty('expected_outputs');
  });

  it('names one host in what it signs, and no second one', () => {
    const source = read('examples/python-client/run_contract.py');
    const functions = ['signing_payload', 'contract_sha256', 'make_submission', 'name_host']
      .map((name) => new RegExp(`^def ${name}.*?(?=^def |^class )`, 'ms').exec(source)?.[0])
      .join('\n');
    const program = `import datetime, hashlib, json
RECEIPT_VERSION = "csc.receipt.v0.2"
${functions}
principal = "spiffe://csc.local/client/alice"
it = make_submission(open("examples/contracts/git-status.json", "rb").read(), principal, "me", "0" * 32)
name_host(it, "host-1")
name_host(it, "host-1")
try:
    name_host(it, "host-2")
except ValueError as error:
    print(json.dumps({"submission": it, "payload": signing_payload(it).decode(), "refused": str(error)}))`;
    const made = JSON.parse(execFileSync('python3', ['-c', program], { cwd: root, encoding: 'utf8' }));
    expect(made.refused).toContain('host-2, which was signed for host-1');
    const signer = createSigner(generateKeyPair().seed, 'me');
    const signature = toBase64(signer.sign(Buffer.from(made.payload)));
    const submission = { ...made.submission, signature: { ...made.submission.signature, signature } };
    const key = { keyId: 'me', publicKey: signer.publicKey };
    const opened = openSubmission(Buffer.from(JSON.stringify(submission)), {
      keysOf: () => createKeyRing([key]),
      trustDomain: 'csc.local',
      now: new Date(),
      contractSha256: made.submission.contract_sha256,
      host: { executorId: 'host-1', labels: {} },
    });
    expect(opened.audience.executor_id).toBe('host-1');
  });
});

it('docs/ci.md shows files that can be used: issuers, bindings, and pipelines whose jobs get their token', () => {
  const blocks = [...read('docs/ci.md').matchAll(/^```yaml\n# (\S+)\n(.*?)^```/gms)];
  const byName = new Map(blocks.map(([, name = '', text = '']) => [name, text]));
  const bytes = (name: string) => Buffer.from(byName.get(name) ?? '');
  expect(orThrow(parseIssuers(bytes('issuers.yaml')), 'POLICY_INVALID', 'issuers.yaml').issuers).toHaveLength(
    3,
  );
  expect(
    orThrow(parseBindings(bytes('bindings.yaml')), 'POLICY_INVALID', 'bindings.yaml').bindings,
  ).toHaveLength(2);
  const pipelines = [
    ['.github/workflows/deploy.yml', 'github', '"id-token":"write"'],
    ['.buildkite/pipeline.yml', 'buildkite', '"branches":"main"'],
    ['.gitlab-ci.yml', 'gitlab', '"CSC_ID_TOKEN":{"aud":"https://csc.acme.example"}'],
  ] as const;
  for (const [name, source, permission] of pipelines) {
    const said = JSON.stringify(parse(byName.get(name) ?? '', { strict: true, uniqueKeys: true }));
    expect(said).toMatch(new RegExp(`submit contract.json --oidc ${source} --fleet-ca`));
    expect(said).toContain(permission);
  }
});

it('the version that the software says of itself is that of every package', () => {
  const manifests = listed('package.json', 'packages/*/package.json').filter(
    (file) => file.split('/').length <= 3,
  );
  const versions = manifests.map((file) => JSON.parse(read(file)).version);
  expect([...new Set(versions)]).toEqual([version]);
});
