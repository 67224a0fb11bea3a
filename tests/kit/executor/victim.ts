// A process that is made to be killed: an executor with one contract under way. Says on its standard output which one.
// Arguments: mode, state directory, workspace, seed of the gate's key in hex, script, and what
// to wait for before saying it: output, receipt or nothing.
import { createPolicySet } from '@csc-fleet/common/policy';
import { defaultCeiling } from '../../../packages/executor/src/admission/ceiling.ts';
import { createExecutor } from '../../../packages/executor/src/service/compose.ts';
import { makeContract, shell } from './contracts.ts';
import { ScriptedGate } from './scripted-gate.ts';
import { identity, makePolicy } from './workbench.ts';

const [mode, stateDir = '', workspace = '', seed = '', script = '', awaited = 'output'] =
  process.argv.slice(2);
const executionMode = mode === 'hardened' ? 'hardened' : 'local';
const gate = new ScriptedGate(Buffer.from(seed, 'hex'));
gate.acknowledges = false;
const policy = makePolicy(workspace);
const executor = await createExecutor(
  {
    executorId: 'executor-1',
    identity,
    stateDir,
    executionMode,
    ceiling: { ...defaultCeiling, inlineCode: true },
  },
  { gateKeys: gate.keys, policies: createPolicySet([policy]), output: gate.output },
);
gate.connect(executor);
const commands = [
  { id: 'done', argv: ['echo', 'done'] },
  { id: 'under-way', argv: shell(script), write_paths: [`${workspace}/out`] },
];
const offer = gate.mint(makeContract(workspace, commands), policy);
const encoded = {
  ticketJson: offer.ticketJson.toString('base64'),
  contractJson: offer.contractJson.toString('base64'),
  executionId: offer.executionId,
};
const announce = () => process.stdout.write(`${JSON.stringify(encoded)}\n`);
if (awaited === 'nothing') announce();
gate.send({ $case: 'offer', value: offer });
if (awaited === 'receipt') await gate.next('receipt', offer.executionId);
if (awaited === 'output') await gate.output.holds(offer.executionId, 30);
if (awaited !== 'nothing') announce();
setInterval(() => {}, 1000);
