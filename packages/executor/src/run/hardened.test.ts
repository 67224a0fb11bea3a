import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import type { Launcher } from '@csc-fleet/sandbox/launch';
import { type CommandShort, makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

let bench: Workbench;
// What the disk below the journal does, and who comes just before.
const journal = { isFull: false, beforeRedeem: (): void => undefined };
// How many of the commands that are built next are not to be found, where their way out is to begin.
const waysOut = { toFail: 0 };
// Whether what a sandbox is to show is gone once it is being built, as where another job renames it.
const shown = { isGone: false };

beforeAll(async () => {
  bench = await openWorkbench({
    executor: {
      executionMode: 'hardened',
      env: { GIVEN: 'value' },
      ceiling: { ...defaultCeiling, inlineCode: true, network: 'allowlisted', egressHosts: ['localhost:1'] },
    },
    policyLines: ['network: allowlisted', 'allowed_egress_hosts: ["localhost:1"]'],
    deps: {
      wrapLauncher: (own) => ({
        launch(spec) {
          if (shown.isGone) return launchTooLate(own, spec);
          const launched = own.launch(spec);
          const isLost = spec.segments[0]?.argv[0] === 'id' && waysOut.toFail-- > 0;
          return isLost ? { ...launched, inits: Promise.resolve([process.pid]) } : launched;
        },
        close: () => own.close(),
      }),
    },
    wrapJournal: (own) => ({
      ...own,
      redeem: async (redemption) => {
        if (journal.isFull) throw new CscError('STORE_UNAVAILABLE', 'the disk is full');
        journal.beforeRedeem();
        await own.redeem(redemption);
      },
    }),
  });
});

afterAll(() => bench.close());

// Whether bwrap ends before or after the command is let go is a race, which is lost here.
function launchTooLate(own: Launcher, spec: Parameters<Launcher['launch']>[0]) {
  const { place } = spec;
  if (place.kind !== 'sandbox') throw new TypeError('a command without a sandbox');
  const gone = { kind: 'host', source: join(bench.workspace, 'gone'), destination: '/gone' } as const;
  const plan = { ...place.plan, mounts: [...place.plan.mounts, gone] };
  const launched = own.launch({ ...spec, place: { ...place, plan } });
  return { ...launched, started: launched.ready };
}

async function run(commands: readonly CommandShort[], overrides: Parameters<typeof makeContract>[2] = {}) {
  const executionId = bench.gate.offer(makeContract(bench.workspace, commands, overrides), bench.policy);
  const receipt = await bench.gate.receipt(executionId);
  const { outputLogLength = 0 } = bench.gate.all('receipt', executionId)[0] ?? {};
  await bench.gate.output.holds(executionId, outputLogLength);
  return {
    executionId,
    receipt,
    stdout: bench.gate.output.text(executionId),
    stderr: bench.gate.output.text(executionId, 2),
  };
}

describe('a way to the network that cannot be opened', () => {
  const toNetwork: CommandShort = { argv: ['id'], network: 'allowlisted' };

  it('spends no ticket: it is for another host', async () => {
    waysOut.toFail = 1;
    const id = bench.gate.offer(makeContract(bench.workspace, [toNetwork]), bench.policy);
    const refused = await bench.gate.next('refused', id);
    expect([refused.reason, refused.receiptJson.length]).toEqual(['SANDBOX_UNAVAILABLE', 0]);
    expect((await run([toNetwork])).receipt).toMatchObject({ status: 'success' });
  });

  it('is tried again where the ticket is spent, with a new sandbox', async () => {
    waysOut.toFail = 1;
    const { receipt } = await run([{ argv: ['true'] }, { ...toNetwork, id: 'second' }]);
    expect(receipt).toMatchObject({ status: 'success', completed_command_ids: ['main', 'second'] });
    expect(waysOut.toFail).toBeLessThan(0);
  });
});

describe('a contract in a sandbox', () => {
  it('runs as another user, and its receipt says what was enforced', async () => {
    const { receipt, stdout } = await run([{ argv: ['id', '-u'] }]);
    expect(stdout).toBe('1000\n');
    expect(receipt).toMatchObject({
      status: 'success',
      execution_mode: 'hardened',
      effect_summary: { files_written: 0, network_used: false, secrets_used: 0 },
      sandbox: { mechanism: 'bubblewrap', namespaces: ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'] },
    });
    expect(receipt.sandbox?.uid).not.toBe(0);
    expect(receipt.sandbox?.bwrap_version).toMatch(/^\d/);
    expect(receipt.sandbox_profile_id).toMatch(/^[0-9a-f]{64}$/);
  });

  it('has no network, no host files and no environment but its own', async () => {
    const script = 'cat /proc/net/dev | wc -l; ls /root /home /var 2>&1; echo "$GIVEN$HOME"; cat /etc/shadow';
    const { stdout, stderr } = await run([{ argv: shell(script), env_allow: ['GIVEN'] }]);
    expect(stdout).toMatch(/^3\n/);
    expect(stdout).toContain('value/home/user');
    expect(stderr).toContain('/etc/shadow');
  });

  it('leaves its artifacts on the host, hashed and counted', async () => {
    const target = join(bench.out, 'made');
    const argv = shell('umask 000; mkdir -p out/made; echo x > out/made/a; echo y > out/made/b');
    const { receipt } = await run([{ argv, write_paths: [bench.out] }], {
      expected_outputs: [join(target, 'a')],
    });
    expect(receipt).toMatchObject({ status: 'success', artifacts: [{ path: join(target, 'a') }] });
    expect(receipt.effect_summary?.files_written).toBe(2);
    expect(statSync(join(target, 'a')).uid).toBe(receipt.sandbox?.uid);
    rmSync(target, { recursive: true });
  });

  it('makes a write path that is not there yet, and tells the submitter', async () => {
    const fresh = join(bench.out, 'fresh');
    const { executionId, receipt } = await run([
      { argv: shell('echo x > out/fresh/f'), write_paths: [fresh] },
    ]);
    expect(receipt).toMatchObject({ status: 'success', effect_summary: { files_written: 1 } });
    expect(receipt.sandbox_profile_id).toMatch(/^[0-9a-f]{64}$/);
    expect(bench.gate.all('accepted', executionId)[0]?.notes.join()).toContain(fresh);
    rmSync(fresh, { recursive: true });
  });

  it('makes files with the umask of the policy, whatever this process has', async () => {
    const modes = async ({ gate, policy, workspace, out }: Workbench) => {
      const [fresh, argv] = [join(out, 'fresh'), shell('echo x > out/fresh/f')];
      await gate.receipt(gate.offer(makeContract(workspace, [{ argv, write_paths: [`${fresh}/`] }]), policy));
      const found = [fresh, join(fresh, 'f')].map((path) => (statSync(path).mode & 0o777).toString(8));
      rmSync(fresh, { recursive: true });
      return found;
    };
    const owners = ['policy_schema_version: csc.policy.v0.2', 'umask: "0027"'];
    const strict = await openWorkbench({ executor: { executionMode: 'hardened' }, policyLines: owners });
    const before = process.umask(0o077);
    const [wide, narrow] = [await modes(bench), await modes(strict)];
    await strict.close();
    process.umask(before);
    expect([wide, narrow]).toEqual([
      ['755', '644'],
      ['750', '640'],
    ]);
  });

  it('makes nothing on the host for a ticket that is not redeemed', async () => {
    const fresh = join(bench.out, 'fresh/deep');
    const write = [{ argv: shell('echo x > out/fresh/deep/f'), write_paths: [fresh] }];
    journal.isFull = true;
    const id = bench.gate.offer(makeContract(bench.workspace, write), bench.policy);
    const refused = await bench.gate.next('refused', id);
    journal.isFull = false;
    expect([refused.reason, readdirSync(bench.out)]).toEqual(['STORE_UNAVAILABLE', []]);
    expect((await run(write)).receipt.status).toBe('success');
    rmSync(join(bench.out, 'fresh'), { recursive: true });
  });

  it('fails a command whose write path could not be made after all, and says why', async () => {
    const way = join(bench.out, 'fresh');
    journal.beforeRedeem = () => writeFileSync(way, '');
    const { receipt } = await run([{ argv: ['true'], write_paths: [join(way, 'deep')] }]);
    journal.beforeRedeem = () => undefined;
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 126 });
    expect(receipt.error).toContain(way);
    rmSync(way);
  });

  it('says of a command whose sandbox fell apart that nothing of it ran', async () => {
    shown.isGone = true;
    const { receipt } = await run([{ argv: ['true'] }]);
    shown.isGone = false;
    expect(receipt).toMatchObject({ status: 'blocked', ended: 'refused' });
    expect(receipt.error).toContain('nothing of this command ran');
    expect(receipt.commands[0]).not.toHaveProperty('started_at');
  });

  it('runs a pipeline and several commands', async () => {
    const { receipt, stdout } = await run([
      {
        id: 'one',
        pipeline: [
          ['echo', 'a b'],
          ['wc', '-w'],
        ],
      },
      { id: 'two', argv: ['pwd'] },
    ]);
    expect(receipt).toMatchObject({ status: 'success', completed_command_ids: ['one', 'two'] });
    expect(stdout).toBe(`2\n${bench.workspace}\n`);
  });

  it('gives 127 for a program that is not there, and its own code to a command that exits with 1', async () => {
    expect((await run([{ argv: ['missing-program'] }])).receipt).toMatchObject({
      status: 'failed',
      exit_code: 127,
    });
    const inShell = await run([{ argv: shell('missing-program') }]);
    expect(inShell.receipt).toMatchObject({
      exit_code: 127,
      error: expect.stringContaining('PATH=/usr/local/bin:'),
    });
    expect((await run([{ argv: ['false'] }])).receipt).toMatchObject({
      status: 'failed',
      exit_code: 1,
      ended: 'exit',
    });
  });

  it('leaves nothing behind when its time is up', async () => {
    const marker = `csc-test-hardened-${process.pid}`;
    const script = `(setsid sh -c "echo begun; while :; do sleep 0.05; done" ${marker} &) ; sleep 60`;
    const contract = makeContract(bench.workspace, [{ argv: shell(script), timeout_sec: 2 }]);
    const executionId = bench.gate.offer(contract, bench.policy);
    await bench.gate.output.holds(executionId, 1);
    expect(await bench.gate.receipt(executionId)).toMatchObject({ ended: 'timeout', exit_code: 124 });
    expect(findProcesses(marker)).toEqual([]);
  });
});

describe('what the host cannot give is refused', () => {
  async function refused(command: CommandShort) {
    const executionId = bench.gate.offer(makeContract(bench.workspace, [command]), bench.policy);
    const message = await bench.gate.next('refused', executionId);
    expect(bench.gate.verify(message.receiptJson)).toMatchObject({ status: 'blocked', ended: 'refused' });
    await expect.poll(() => readdirSync(join(bench.stateDir, 'spool'))).toEqual([]);
    return message;
  }

  it('a read path that does not exist', async () => {
    const missing = join(bench.workspace, 'missing');
    const { reason, message } = await refused({ read_paths: [missing] });
    expect(reason).toBe('SCOPE_NOT_FOUND');
    expect(message).toContain(missing);
    expect(message).not.toContain('doctor');
  });

  it('a symlink that leads out of what the policy allows', async () => {
    symlinkSync('/etc', join(bench.workspace, 'etc'));
    const { reason, message } = await refused({ read_paths: [join(bench.workspace, 'etc')] });
    expect(reason).toBe('NOT_PERMITTED');
    expect(message).toContain('/etc');
    rmSync(join(bench.workspace, 'etc'));
  });

  it('in the middle of a contract, with what was done by then', async () => {
    mkdirSync(join(bench.workspace, 'there'));
    writeFileSync(join(bench.workspace, 'there/file'), '');
    const { receipt } = await run([
      { id: 'one', read_paths: [join(bench.workspace, 'there')] },
      { id: 'two', read_paths: [join(bench.workspace, 'not-there')] },
    ]);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 126,
      failed_command_id: 'two',
      completed_command_ids: ['one'],
    });
    expect(receipt.error).toContain('not-there');
  });
});
