import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { makeTestDirectory, openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { startVault, type TestingVault } from '@csc-fleet/test-kit/secrets/vault';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';
import { createVaultProvider } from '../secrets/vault-provider.ts';

let vault: TestingVault;
let bench: Workbench;
beforeAll(async () => {
  vault = await startVault();
  vault.secrets.set('secret/data/TOKEN', { data: { value: 'the-value-of-it' } });
  const tokenFile = join(makeTestDirectory(), 'token');
  writeFileSync(tokenFile, `${vault.token}\n`, { mode: 0o600 });
  bench = await openWorkbench({
    policyLines: ['allow_secret_refs: true'],
    executor: {
      executionMode: 'hardened',
      slots: 1,
      ceiling: { ...defaultCeiling, inlineCode: true, secrets: ['TOKEN'] },
    },
    deps: { secrets: createVaultProvider({ address: vault.address, tokenFile }) },
  });
});
afterAll(async () => {
  await bench.close();
  await vault.close();
});

const offer = () =>
  bench.gate.offer(makeContract(bench.workspace, [{ secret_refs: ['TOKEN'] }]), bench.policy);
const reads = () => vault.requests.filter((request) => request.includes('TOKEN')).length;

it('an offer beyond the slots is refused before the Vault hears of it, while another one waits for the Vault', async () => {
  const asked = Promise.withResolvers<() => void>();
  vault.tricks.push((_request, _response, pass) => asked.resolve(pass));
  const first = offer();
  const answer = await asked.promise;
  const second = offer();
  expect(await bench.gate.next('refused', second)).toMatchObject({ reason: 'QUEUE_FULL' });
  expect(reads()).toBe(1);
  answer();
  expect(await bench.gate.receipt(first)).toMatchObject({ status: 'success' });
});

it('a slot is free again when the Vault says no', async () => {
  vault.forbidden.add('secret/data/TOKEN');
  const refused = offer();
  expect(await bench.gate.next('refused', refused)).toMatchObject({ reason: 'SANDBOX_UNAVAILABLE' });
  vault.forbidden.clear();
  expect(await bench.gate.receipt(offer())).toMatchObject({ status: 'success' });
});
