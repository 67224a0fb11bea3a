import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readKeyRing } from '@csc-fleet/common/crypto';
import {
  channelOptions,
  GateClient,
  type GetKeysResponse,
  readChannelCredentials,
} from '@csc-fleet/common/rpc';
import { ask } from '@csc-fleet/test-kit/gate/grpc-calls';
import { TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { programFile } from '@csc-fleet/test-kit/programs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runGate } from './main.ts';

let directory: string;
let config: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-gate-main-'));
  mkdirSync(join(directory, 'policies'));
  const policy = {
    policy_schema_version: 'csc.policy.v0.1',
    name: 'default',
    allow_commands: ['echo'],
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
  };
  // JSON is YAML.
  write('policies/default.yaml', policy);
  const bindings = [{ identity: 'spiffe://csc.local/client/*', policies: ['default'] }];
  write('bindings.yaml', { bindings_version: 'csc.bindings.v0.1', bindings });
  config = write('gate.yaml', {
    listen: '127.0.0.1:0',
    data_dir: 'data',
    policies: 'policies',
    bindings: 'bindings.yaml',
  });
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

function write(name: string, content: object): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const invalid = (code: string) => expect.objectContaining({ code });

/** A gate in a process of its own, and what it logs. */
class GateProcess {
  readonly child: ChildProcess;
  readonly lines: Record<string, unknown>[] = [];
  #text = '';

  constructor() {
    this.child = spawn(process.execPath, [programFile('run-gate'), config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(this.child);
    this.child.stderr?.on('data', (chunk: Buffer) => this.#take(chunk.toString()));
  }

  #take(text: string): void {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) this.lines.push(JSON.parse(line));
  }

  /** Resolves to where it listens; fails where it ends before. */
  async listening(): Promise<string> {
    for (;;) {
      const line = this.lines.find(({ listen }) => listen !== undefined);
      if (line !== undefined) return String(line['listen']);
      if (this.child.exitCode !== null) throw new Error(`it ended: ${JSON.stringify(this.lines)}`);
      await Promise.race([once(this.child.stderr ?? this.child, 'data'), once(this.child, 'exit')]);
    }
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    const [code] = (await ended) as [number | null];
    return code;
  }
}

describe('a gate without certificates of its own', () => {
  it('makes a development PKI and keys at its first start, says so, and keeps them', async () => {
    const telemetry = { metrics: { address: '127.0.0.1:0' } };
    write('gate.yaml', { ...JSON.parse(readFileSync(config, 'utf8')), telemetry });
    const first = new GateProcess();
    const address = await first.listening();
    const port = first.lines.find(({ msg }) => String(msg).startsWith('metrics can be read'))?.['port'];
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(metrics).toContain('csc_store_writable 1');
    expect(metrics).toMatch(/^csc_certificate_days_left\{certificate="[^"]*gate.pem"\} 8\d\d/m);
    const pki = join(directory, 'data', 'pki');
    const warning = first.lines.find(({ level }) => level === 40);
    expect(warning).toMatchObject({ directory: pki, msg: expect.stringContaining('development') });
    const tls = {
      ca: join(pki, 'ca.pem'),
      cert: join(pki, 'client-dev.pem'),
      key: join(pki, 'client-dev.key'),
    };
    const client = new GateClient(address, readChannelCredentials(tls), channelOptions);
    const { keys } = await ask<GetKeysResponse>((done) => client.getKeys({ keyIds: [] }, done));
    const ring = readKeyRing(join(directory, 'data', 'gate-keys.json'));
    expect(keys.map(({ keyId, publicKey }) => [keyId, Buffer.from(publicKey)])).toEqual(
      ring.entries().map(({ keyId, publicKey }) => [keyId, Buffer.from(publicKey)]),
    );
    client.close();
    expect(await first.end('SIGTERM')).toBe(0);
    const ca = readFileSync(tls.ca);
    const second = new GateProcess();
    await second.listening();
    expect(readFileSync(tls.ca)).toEqual(ca);
    expect(readKeyRing(join(directory, 'data', 'gate-keys.json')).entries()).toEqual(ring.entries());
    expect(await second.end('SIGINT')).toBe(0);
  });
});

describe('checking a config', () => {
  it('reads everything and starts nothing', async () => {
    await runGate(config, { checkOnly: true });
    expect(existsSync(join(directory, 'data'))).toBe(false);
  });

  it.each([
    ['directory of policies', { policies: 'none' }, 'FILE_UNREADABLE'],
    ['file of bindings', { bindings: 'none.yaml' }, 'FILE_UNREADABLE'],
    ['certificate', { tls: { ca: 'a', cert: 'b', key: 'c' } }, 'FILE_UNREADABLE'],
    ['signing key', { signing_key: 'none.key' }, 'FILE_UNREADABLE'],
    ['member of this name', { data: 'x' }, 'CONFIG_INVALID'],
  ])('fails where there is no %s', async (_what, change, code) => {
    write('gate.yaml', { ...JSON.parse(readFileSync(config, 'utf8')), ...change });
    await expect(runGate(config, { checkOnly: true })).rejects.toEqual(invalid(code));
  });

  const useRepository = (owners: TestRepository): void => {
    const { policies: _policies, bindings: _bindings, ...rest } = JSON.parse(readFileSync(config, 'utf8'));
    writeFileSync(join(directory, 'root.json'), owners.root);
    write('gate.yaml', { ...rest, policy_repository: { directory: 'owners', root: 'root.json' } });
  };

  it('takes the policy repository of the owners whose root it pins, and of nobody else', async () => {
    const files = {
      'policies/default.yaml': readFileSync(join(directory, 'policies/default.yaml'), 'utf8'),
      'bindings.yaml': readFileSync(join(directory, 'bindings.yaml'), 'utf8'),
    };
    const owners = new TestRepository(join(directory, 'owners'));
    owners.publish(files);
    useRepository(owners);
    await runGate(config, { checkOnly: true });
    expect(existsSync(join(directory, 'data'))).toBe(false);
    const others = new TestRepository(join(directory, 'others'), { seed: 9 });
    others.publish(files);
    useRepository(others);
    await expect(runGate(config, { checkOnly: true })).rejects.toEqual(invalid('POLICY_UNSIGNED'));
  });

  it('fails where the bindings name a profile that is not there', async () => {
    const bindings = [{ identity: 'spiffe://csc.local/client/*', policies: ['missing'] }];
    write('bindings.yaml', { bindings_version: 'csc.bindings.v0.1', bindings });
    await expect(runGate(config, { checkOnly: true })).rejects.toEqual(invalid('POLICY_INVALID'));
  });
});
