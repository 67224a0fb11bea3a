import { readFileSync, writeFileSync } from 'node:fs';
import { csc, freshCsc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';
import { setStage } from '../demo/stage.ts';

describe('csc gate and csc executor', () => {
  it('--check-config says whether a config is good', async () => {
    using stage = await setStage();
    expect(await freshCsc(['gate', '--config', stage.gateConfig, '--check-config'])).toMatchObject({
      code: 0,
      stdout: '',
    });
    const config = stage.writeExecutorConfig('127.0.0.1:1', 'local');
    // The key ring that it is to pin is made by the gate's first start.
    const early = await csc(['executor', '--config', config, '--check-config']);
    expect(early.code).toBe(78);
    expect(early.stderr).toContain('gate-keys.json');
  });

  it.each(['gate', 'executor'])(
    '%s names every fault of a config at once, and ends with 78',
    async (service) => {
      const scratch = createScratch();
      const config = scratch.write('config.yaml', { state_dir: 1, data_dir: 2, surprise: true });
      const { code, stdout, stderr } = await csc([service, '--config', config, '--check-config']);
      expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
      for (const path of ['surprise', 'policies', service === 'gate' ? 'data_dir' : 'state_dir']) {
        expect(stderr).toContain(`  ${path}: `);
      }
      expect(stderr).not.toMatch(/\n\s+at /);
    },
  );

  it.each(['gate', 'executor'])('%s needs a config', async (service) => {
    expect((await csc([service])).code).toBe(64);
    expect((await csc([service, '--config', '/nonexistent.yaml'])).code).toBe(78);
  });
});

// Node's own recursive mkdir never ends there, at full speed.
describe('a directory where none can be made', () => {
  const nowhere = '/proc/nowhere/x';

  it('ends csc gate', async () => {
    const policies = `${import.meta.dirname}/../../../../policies`;
    const config = {
      data_dir: nowhere,
      policies,
      bindings: `${policies}/bindings.yaml`,
      listen: '127.0.0.1:0',
    };
    const { code, stderr } = await freshCsc(['gate', '--config', createScratch().write('gate.yaml', config)]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make data_dir ${nowhere}: no directory can be made there`);
  });

  it('ends csc executor', async () => {
    using stage = await setStage();
    const keys = createScratch().write('keys.json', { keys: [] });
    const config = stage.writeExecutorConfig('127.0.0.1:1', 'local');
    const members = JSON.parse(readFileSync(config, 'utf8'));
    writeFileSync(config, JSON.stringify({ ...members, state_dir: nowhere, trusted_gate_keys: keys }));
    const { code, stderr } = await freshCsc(['executor', '--config', config]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make state_dir ${nowhere}: no directory can be made there`);
  });

  it('ends csc pki', async () => {
    const { code, stderr } = await csc(['pki', 'init', nowhere]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make ${nowhere}: no directory can be made there`);
  });
});

describe('csc doctor', () => {
  it('tries each thing and says what it found', async () => {
    const { code, stdout } = await csc(['doctor', '--json']);
    const { able, checks } = JSON.parse(stdout);
    expect(code).toBe(able ? 0 : 1);
    expect(checks.map(({ name }: { name: string }) => name)).toContain('bwrap');
    const human = await csc(['doctor']);
    expect(human.code).toBe(code);
    expect(human.stdout).toMatch(/(NOT )?ABLE — this host/);
  });

  it('says what to do about what is missing', async () => {
    const { code, stdout } = await csc(['doctor', '--run-as', 'no-such-account', '--json']);
    expect(code).toBe(1);
    const failed = JSON.parse(stdout).checks.find(({ ok }: { ok: boolean }) => !ok);
    expect(failed.remedy).not.toBe('');
  });
});

describe('csc demo', () => {
  it('goes without a sandbox as well, and says so', async () => {
    const { code, stdout } = await freshCsc(['demo', '--local']);
    expect(stdout).toContain('LOCAL MODE');
    expect(code).toBe(0);
  });
});
