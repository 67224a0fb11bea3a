import { chmodSync, chownSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

// Only root can give runs users of their own. The ids need no accounts.
const gid = 61_900;
const uids = [61_900, 61_901] as const;

let bench: Workbench;
beforeAll(async () => {
  const runAs = { pool: uids, group: gid };
  // The kernel's limit of processes is by user: here, nothing else counts them.
  const facts = { ...(await probeHost({ runAs, acceptRlimitsOnly: true })), cgroups: 'none' as const };
  bench = await openWorkbench({
    executor: {
      executionMode: 'hardened',
      runAs,
      slots: 2,
      runLimits: { processes: 12 },
      ceiling: { ...defaultCeiling, inlineCode: true, secrets: ['missing'] },
    },
    deps: { facts },
    policyLines: ['allow_secret_refs: true'],
  });
  // As docs say that a workspace of jobs is set up; not open to others.
  chownSync(bench.out, 0, gid);
  chmodSync(bench.out, 0o2770);
});
afterAll(() => bench.close());

function start(script: string) {
  const command = { argv: shell(script), write_paths: [bench.out] };
  return bench.gate.offer(makeContract(bench.workspace, [command]), bench.policy);
}

async function finish(executionId: string) {
  const receipt = await bench.gate.receipt(executionId);
  const { outputLogLength = 0 } = bench.gate.all('receipt', executionId)[0] ?? {};
  await bench.gate.output.holds(executionId, outputLogLength);
  return { receipt, stdout: bench.gate.output.text(executionId) + bench.gate.output.text(executionId, 2) };
}

/** Runs one script while another one, which has said that it is ready, is still there. */
async function runBeside(greedy: string, script: string) {
  const [ready, go] = [join(bench.out, 'ready'), join(bench.out, 'go')];
  const first = start(
    `${greedy}; touch ${ready}; while [ ! -e ${go} ]; do sleep 0.02; done; rm ${go} ${ready}`,
  );
  while (!existsSync(ready)) await sleep(5);
  const second = await finish(start(script));
  writeFileSync(go, '');
  return { first: await finish(first), second };
}

describe.runIf(process.getuid?.() === 0)('runs with users of their own', () => {
  it('have different ones at a time, with the group of the pool, and their receipts say which', async () => {
    const { first, second } = await runBeside('true', 'id -u');
    const seen = [first, second].map(({ receipt }) => receipt.sandbox?.uid);
    expect(seen.toSorted()).toEqual(uids);
    expect(second.receipt.sandbox?.gid).toBe(gid);
    expect(second.receipt.sandbox_profile_id).toMatch(/^[0-9a-f]{64}$/);
  });

  it('do not use up each other’s inotify instances', async () => {
    const use = `import os, ctypes, time
libc = ctypes.CDLL(None)
while libc.inotify_init() >= 0: pass
open("${bench.out}/used", "w").close()
time.sleep(60)`;
    const program = join(bench.workspace, 'use.py');
    writeFileSync(program, use);
    const one = 'import ctypes; print(ctypes.CDLL(None).inotify_init() >= 0)';
    const greedy = `ulimit -n 16000; python3 ${program} & while [ ! -e ${bench.out}/used ]; do sleep 0.02; done`;
    const { second } = await runBeside(`${greedy}`, `python3 -c '${one}'`);
    expect(second.stdout).toBe('True\n');
  });

  it('do not use up each other’s processes', async () => {
    const fill = 'for i in 1 2 3 4 5; do sleep 60 & done';
    const { first, second } = await runBeside(fill, `${fill}; echo filled`);
    expect([first.receipt.status, second.stdout]).toEqual(['success', 'filled\n']);
  });

  it('change what the run before has made in a common write scope, which is closed to others', async () => {
    const made = join(bench.out, 'made');
    const first = await finish(start('mkdir -p out/made/deep; echo one > out/made/deep/file'));
    const second = await finish(
      start('echo two >> out/made/deep/file; touch out/made/deep/more; cat out/made/deep/file'),
    );
    expect(second.stdout).toBe('one\ntwo\n');
    expect(second.receipt.sandbox?.uid).not.toBe(first.receipt.sandbox?.uid);
    expect(statSync(join(made, 'deep/file'))).toMatchObject({ gid });
    expect(statSync(join(made, 'deep/file')).mode & 0o777).toBe(0o664);
  });

  it('get write paths that are made for them with the group’s rights, too', async () => {
    const fresh = join(bench.out, 'fresh');
    const command = { argv: shell('touch out/fresh/f'), write_paths: [fresh] };
    await finish(bench.gate.offer(makeContract(bench.workspace, [command]), bench.policy));
    expect(statSync(fresh)).toMatchObject({ gid });
    expect(statSync(fresh).mode & 0o7777).toBe(0o2775);
  });

  it('get the user of an offer that was refused for its secrets', async () => {
    for (const _user of uids) {
      const contract = makeContract(bench.workspace, [{ argv: ['true'], secret_refs: ['missing'] }]);
      const refused = await bench.gate.next('refused', bench.gate.offer(contract, bench.policy));
      expect(refused.message).toContain('no secrets');
    }
    expect((await finish(start('true'))).receipt.status).toBe('success');
  });
});
