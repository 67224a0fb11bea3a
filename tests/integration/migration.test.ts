import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type GateClient, type RunResult } from '@csc-fleet/client';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import type { Service } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// docs/migration.md, step by step: each test stands on the one before it.

let fleet: Fleet;
let alice: GateClient;
let signing: GateClient | undefined;

beforeAll(async () => {
  fleet = await startFleet({
    executors: [
      { name: 'host-1', labels: { host: '1' } },
      { name: 'host-2', labels: { host: '2' } },
    ],
    clients: ['bob'],
  });
  alice = fleet.connect();
});
afterAll(async () => {
  signing?.close();
  await fleet[Symbol.asyncDispose]();
});

type Host = '1' | '2';

const hostOf = (host: Host): Service => fleet.executor(`host-${host}`);
const on = (host: Host) => ({ selector: { host } });

async function runOn(
  host: Host,
  client: GateClient = alice,
): Promise<{ notes: string[]; receipt: ReceiptV02 }> {
  const notes: string[] = [];
  const result = await client.run(fleet.contract({ argv: ['true'] }), {
    ...on(host),
    handlers: {
      onEvent: (event) => void (event.type === 'started' && notes.push(...event.notes)),
    },
  });
  return { notes, receipt: succeeded(result) };
}

function succeeded({ exitCode, receipt }: RunResult): ReceiptV02 {
  expect(exitCode).toBe(0);
  expect(receipt).toMatchObject({ status: 'success' });
  return receipt as ReceiptV02;
}

/** A run on this host that is under way before `restart` begins, and is let go where that says so. */
async function meanwhile(
  host: Host,
  restart: (letGo: () => void) => Promise<void>,
  client: GateClient = alice,
): Promise<ReceiptV02> {
  const name = `run-${crypto.randomUUID()}`;
  const directory = fleet.writable(name);
  const started = Promise.withResolvers<void>();
  const script = `echo up; until [ -e ${join(directory, 'go')} ]; do sleep 0.05; done`;
  const running = client.run(
    fleet.contract({
      argv: ['sh', '-c', script],
      read_paths: [fleet.workspace],
      write_paths: [directory],
      proposed_effect_type: 'transform_local',
    }),
    { ...on(host), handlers: { onStdout: () => started.resolve() } },
  );
  await Promise.race([started.promise, running]);
  await restart(() => void fleet.write(`workspace/${name}/go`, ''));
  return succeeded(await running);
}

/** Restarts the gate with these members of its config; what runs goes on. */
async function restartGate(members: object): Promise<void> {
  const now = JSON.parse(readFileSync(join(fleet.directory, 'gate.yaml'), 'utf8'));
  fleet.write('gate.yaml', JSON.stringify({ ...now, ...members }));
  const hosts = (['1', '2'] as const).map(hostOf);
  const ends = hosts.map(({ log }) => log.length);
  await fleet.gate.stop();
  await fleet.startGate();
  await Promise.all(hosts.map((it, index) => it.waitFor(/"msg":"connected/, ends[index])));
}

const lookOften = { refresh_sec: 1 };
const repository = () => ({ root: join(fleet.directory, 'owners', 'root.json'), ...lookOften });

/** Drains a host, and starts it again on the owners' repository. */
async function restartHost(host: Host, letGo: () => void, members: object): Promise<void> {
  const name = `host-${host}`;
  const stopped = fleet.executor(name).stop();
  letGo();
  await stopped;
  const config = { policies: undefined, policy_repository: { ...repository(), from: 'gate' }, ...members };
  await fleet.startExecutor({ name, labels: { host }, config });
}

const owners = async (...args: string[]) => {
  const { code, stdout, stderr } = await fleet.csc([...args, '--dir', join(fleet.directory, 'owners')]);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  return stdout;
};

describe('a fleet whose gate is trusted', () => {
  it('1. its owners make the repository of the files that are there', async () => {
    await runOn('1');
    const file = (name: string) => join(fleet.directory, name);
    await owners('policy', 'init', '--local', file('policies/tests.yaml'), file('bindings.yaml'));
  });

  it('2. the gate takes it, and hosts with a plain folder do not notice', async () => {
    const online_key = join(fleet.directory, 'owners', 'keys', 'online.key');
    const policy_repository = { ...repository(), directory: join(fleet.directory, 'owners'), online_key };
    const receipt = await meanwhile('1', async (letGo) => {
      await restartGate({ policies: undefined, bindings: undefined, policy_repository });
      letGo();
    });
    expect(receipt.warnings).toBeUndefined();
    expect((await runOn('2')).receipt).not.toHaveProperty('policy_version');
  });

  it('3. hosts take it, one after the other, and say whom they would refuse', async () => {
    for (const host of ['1', '2'] as const)
      await meanwhile(host, async (letGo) => {
        await restartHost(host, letGo, { enforce: 'warn' });
        // It has nothing of the repository yet, so that it says hello once more when it has.
        await hostOf(host).waitFor(/published something new[\s\S]*"msg":"connected/);
      });
    const { receipt, notes } = await runOn('1');
    const why = 'SUBMISSION_INVALID: the submission was refused: none came';
    expect(receipt).toMatchObject({ policy_version: 1, warnings: [expect.stringContaining(why)] });
    expect(notes).toContainEqual(expect.stringContaining(why));
    const [line] = await fleet.executor('host-1').waitFor(/.*"since_start":1.*/);
    expect(line).toContain('spiffe://csc.local/client/alice');
    expect(line).toContain('csc login');
    // Whoever looks at the gate sees it, too.
    await fleet.gate.waitFor(/host-1","since_its_start":1,.*once it enforces/);
  });

  it('4. clients sign, before and after the owners have published their keys', async () => {
    const { stdout, code } = await fleet.csc(['login', '--json'], { env: configHome() });
    expect(code).toBe(0);
    const key = join(fleet.directory, 'config', 'csc', 'submitter.key');
    signing = connect({ address: fleet.address, tls: fleet.tls('alice'), submitter: key });
    expect((await runOn('1', signing)).receipt.warnings).toEqual([
      expect.stringContaining('names no submission key of spiffe://csc.local/client/alice'),
    ]);
    const bindings = JSON.parse(readFileSync(join(fleet.directory, 'bindings.yaml'), 'utf8'));
    const submitters = [JSON.parse(stdout)];
    const signed = { ...bindings, bindings_version: 'csc.bindings.v0.2', submitters };
    const file = fleet.write('bindings.yaml', JSON.stringify(signed));
    const next = (['1', '2'] as const).map((host) => hostOf(host).waitFor(/"version":2,.*new"/));
    const receipt = await meanwhile(
      '1',
      async (letGo) => {
        await owners('policy', 'add', file);
        await owners('policy', 'sign');
        await owners('policy', 'publish');
        await Promise.all(next);
        letGo();
      },
      signing,
    );
    // A run ends as it began.
    expect(receipt).toMatchObject({ policy_version: 1 });
    const { receipt: second } = await runOn('1', signing);
    expect(second).toMatchObject({ policy_version: 2, submission_sha256: expect.any(String) });
    expect(second.warnings).toBeUndefined();
    expect((await runOn('2', fleet.connect('bob'))).receipt.warnings).toHaveLength(1);
  });

  it('5. hosts enforce it: what is signed runs on, and nothing else', async () => {
    await Promise.all(
      (['1', '2'] as const).map((host) =>
        meanwhile(host, (letGo) => restartHost(host, letGo, { enforce: 'enforce' }), signing),
      ),
    );
    for (const host of ['1', '2'] as const) {
      expect((await runOn(host, signing)).receipt.warnings).toBeUndefined();
      const { execution, receipt } = await alice.run(fleet.contract({ argv: ['true'] }), on(host));
      expect(receipt).toMatchObject({ status: 'blocked', error: expect.stringContaining('csc login') });
      expect(execution.error).toContain('SUBMISSION_INVALID');
    }
    const file = fleet.write('contract.json', JSON.stringify(fleet.contract({ argv: ['true'] })));
    expect((await fleet.csc(['submit', file], { env: configHome() })).code).toBe(0);
  });
});

const configHome = () => ({ XDG_CONFIG_HOME: join(fleet.directory, 'config') });
