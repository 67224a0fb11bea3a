import { createServer, type Socket } from 'node:net';
import { ExecutionState } from '@csc-fleet/common/rpc';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { Service } from '@csc-fleet/test-kit/process';
import { childrenOf, findProcesses, readArguments } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const executor = { name: 'host' };

let fleet: Fleet;
beforeAll(async () => {
  fleet = await startFleet({ executors: [executor] });
});
afterAll(() => fleet[Symbol.asyncDispose]());

const launchers = () =>
  childrenOf(fleet.executor('host').child.pid).filter((pid) => readArguments(pid).includes('serve'));

/** SIGKILL to csc-launcher as it is there by now. */
async function killLauncher(): Promise<void> {
  await expect.poll(launchers).not.toEqual([]);
  for (const pid of launchers()) process.kill(pid, 'SIGKILL');
}

/** What is owed to a gate that does not answer is waited for, 5 s; nothing else is, as its connections, which took 25 s more. */
const isOver = () => expect.poll(() => fleet.executor('host').child.exitCode, { timeout: 15_000 }).toBe(0);

describe('an executor whose launcher was killed ends at SIGTERM', () => {
  it('that has nothing to do', async () => {
    await killLauncher();
    fleet.executor('host').child.kill('SIGTERM');
    await isOver();
    await fleet.startExecutor(executor);
  });

  it.each([
    ['first', false],
    ['last', false],
    ['first', true],
    ['last', true],
  ] as const)(
    'with what it runs, launcher killed %s, gate stopped: %s, and the run has its receipt',
    async (order, isStopped) => {
      const marker = `csc-test-stop-${order}-${isStopped}-${process.pid}`;
      const { pid: gatePid = 0 } = fleet.gate.child;
      const spoken = Promise.withResolvers<void>();
      const argv = ['sh', '-c', 'echo begun; while :; do sleep 1; done', marker];
      const run = fleet.connect().run(fleet.contract({ argv, timeout_sec: 120 }), {
        handlers: { onStdout: () => spoken.resolve() },
      });
      await Promise.race([spoken.promise, run]);
      if (isStopped) process.kill(gatePid, 'SIGSTOP');
      try {
        if (order === 'first') await killLauncher();
        fleet.executor('host').child.kill('SIGTERM');
        if (order === 'last') {
          await fleet.executor('host').waitFor(/draining/);
          await killLauncher();
        }
        await isOver();
      } finally {
        process.kill(gatePid, 'SIGCONT');
      }
      expect(findProcesses(marker)).toEqual([]);
      await fleet.startExecutor(executor);
      const { execution, receipt } = await run;
      expect(execution.state).toBe(ExecutionState.FAILED);
      expect(receipt).toMatchObject({ ended: 'signal', executor_id: 'host' });
    },
  );
});

it('an executor whose gate takes its connection and says nothing ends at SIGTERM', async () => {
  await fleet.executor('host').stop();
  const met = Promise.withResolvers<Socket>();
  const silent = createServer((socket) => met.resolve(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    const address = silent.address();
    if (address === null || typeof address === 'string') throw new Error('it has no port');
    const gate = { address: `127.0.0.1:${address.port}` };
    const config = fleet.writeExecutorConfig({ ...executor, config: { gate } });
    await using alone = new Service('the executor', ['executor', '--config', config]);
    await met.promise;
    await alone.waitFor(/the executor is up/);
    alone.child.kill('SIGTERM');
    await expect.poll(() => alone.child.exitCode, { timeout: 10_000 }).toBe(0);
  } finally {
    (await met.promise).destroy();
    silent.close();
  }
});
