import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import type { Service } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
beforeAll(async () => {
  fleet = await startFleet({ executors: [{ name: 'host-1' }] });
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** Asks for a reload, and resolves once the log has such a line. */
async function hangUp(service: Service, line: RegExp): Promise<void> {
  const from = service.log.length;
  service.child.kill('SIGHUP');
  await service.waitFor(line, from);
}

const policyFile = (policy: object): string => fleet.write('policies/tests.yaml', JSON.stringify(policy));
const policy = (): Record<string, unknown> =>
  JSON.parse(readFileSync(join(fleet.directory, 'policies/tests.yaml'), 'utf8'));

describe('SIGHUP', () => {
  it('reloads policies everywhere, and what runs goes on to its receipt', async () => {
    const client = fleet.connect();
    const executor = fleet.executor('host-1');
    const fetch = fleet.contract({ argv: ['uname'] });
    expect((await client.run(fetch)).execution.state).toBe(ExecutionState.BLOCKED);
    const go = join(fleet.writable('reload'), 'go');
    const script = `echo up; while [ ! -e ${go} ]; do sleep 0.1; done; echo done`;
    const write_paths = [join(fleet.workspace, 'reload/**')];
    const started = Promise.withResolvers<void>();
    const running = client.run(
      fleet.contract({ argv: ['sh', '-c', script], write_paths, proposed_effect_type: 'transform_local' }),
      {
        handlers: { onStdout: () => started.resolve() },
      },
    );
    await started.promise;

    const { allow_commands: allowed } = policy();
    policyFile({ ...policy(), allow_commands: [...(allowed as string[]), 'uname'] });
    await hangUp(executor, /"msg":"connected to the gate"/);
    await hangUp(fleet.gate, /"msg":"reloaded"/);
    const result = await client.run(fetch);
    expect(result).toMatchObject({ exitCode: 0, receipt: { status: 'success' } });

    fleet.write('workspace/reload/go', '');
    const { receipt, exitCode } = await running;
    expect(exitCode).toBe(0);
    expect(receipt?.policy_sha256).not.toBe(result.receipt?.policy_sha256);
    // What the owner has taken away is gone from the host at once, whatever a gate still believes.
    policyFile({ ...policy(), allow_commands: allowed });
    await hangUp(executor, /"msg":"connected to the gate"/);
    expect(
      (await client.run(fetch, { queueTimeoutMs: 1000 }).catch((error) => error)).exitCode,
    ).toBeUndefined();
    await hangUp(fleet.gate, /"msg":"reloaded"/);
    expect((await client.run(fetch)).execution.state).toBe(ExecutionState.BLOCKED);
  });

  it.each([
    ['policy', 'policies/tests.yaml', 'allow_commands: ['],
    ['set of bindings', 'bindings.yaml', '{"bindings_version":"csc.bindings.v0.1","bindings":[]}'],
    ['config', 'gate.yaml', 'listen: 7'],
    ['config', 'executor-host-1.yaml', 'slots: many'],
  ])('with a bad %s changes nothing (%s)', async (_, name, text) => {
    const path = join(fleet.directory, name);
    const good = readFileSync(path);
    fleet.write(name, text);
    const services = name.startsWith('executor') ? [fleet.executor('host-1')] : [fleet.gate];
    for (const service of services) await hangUp(service, /"msg":"not reloaded/);
    fleet.write(name, good);
    const { exitCode } = await fleet.connect().run(fleet.contract({ argv: ['true'] }));
    expect(exitCode).toBe(0);
  });

  it('changes bindings and the log level', async () => {
    const client = fleet.connect();
    const change = (name: string, members: object): void => {
      const now = JSON.parse(readFileSync(join(fleet.directory, name), 'utf8'));
      fleet.write(name, JSON.stringify({ ...now, ...members }));
    };
    const isBound = async (): Promise<boolean> =>
      client.check(fleet.contract({ argv: ['true'] })).then(
        () => true,
        (error) => (isCscError(error, 'NOT_PERMITTED') ? false : Promise.reject(error)),
      );
    expect(await isBound()).toBe(true);
    change('bindings.yaml', {
      bindings: [{ identity: 'spiffe://csc.local/client/bob', policies: ['tests'] }],
    });
    change('gate.yaml', { log_level: 'error' });
    const from = fleet.gate.log.length;
    fleet.gate.child.kill('SIGHUP');
    while (await isBound());
    expect(fleet.gate.log.slice(from)).not.toContain('reloaded');
    change('bindings.yaml', { bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'] }] });
    change('gate.yaml', { log_level: 'info', decision_ttl_sec: 7 });
    await hangUp(fleet.gate, /"needs_restart":\["decision_ttl_sec"\].*"msg":"reloaded"/);
    expect(await isBound()).toBe(true);
  });
});
