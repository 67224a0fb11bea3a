import { connect } from '@csc-fleet/client';
import { isCscError } from '@csc-fleet/common/errors';
import { executionId } from '@csc-fleet/test-kit/client/scripted-execution';
import { ScriptedGate } from '@csc-fleet/test-kit/client/scripted-gate';
import { expect, it } from 'vitest';
import { describeError, errorDocument } from '../action/act.ts';
import { gateArguments } from '../connect/gate-options.ts';
import { present } from './follow.ts';
import { createPresenter } from './presenter.ts';

it('says of a gate that is lost that the execution goes on, and what takes it up again', async () => {
  await using gate = await new ScriptedGate({ contractSha256: '' }).listen();
  using client = connect({ ...gate.connectOptions, reconnectForMs: 0 });
  const pem = '-----BEGIN PRIVATE KEY-----';
  const reach = gateArguments({
    gate: 'gate.example:7443',
    pki: 'my pki',
    as: 'alice',
    keys: ['k'],
    key: pem,
  });
  gate.breakAfter.push(1);
  const interrupts = { identify: () => {}, [Symbol.dispose]: () => {} };
  const presenter = await createPresenter({ json: false, quiet: true });
  const lost = await present(presenter, {
    interrupts,
    receiptOut: undefined,
    reach,
    run: (handlers) => client.follow(executionId, { handlers }),
  }).catch((error: unknown) => error);
  expect(isCscError(lost, 'GATE_UNREACHABLE')).toBe(true);
  const said = describeError(lost);
  expect(said).toContain(`execution ${executionId} goes on without this command`);
  expect(said).toContain(
    `csc get ${executionId} --follow --gate gate.example:7443 --pki "my pki" --as alice --keys k takes it up`,
  );
  expect(said).not.toContain('check the address');
  expect(errorDocument(lost)).toMatchObject({ code: 'GATE_UNREACHABLE', execution_id: executionId });
  await gate[Symbol.asyncDispose]();
  await expect(client.follow(executionId)).rejects.toSatisfy((error) =>
    describeError(error).includes('check the address'),
  );
});
