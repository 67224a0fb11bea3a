// A process that is made to be killed: an executor with one contract under way. Says on its standard output which one.
// Arguments: mode, state directory, workspace, seed of the gate's key in hex, script, and what
// to wait for before saying it: output or receipt; or nothing, and the step of its journal, `before finish` or
// `after redeem`, at which it kills itself.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { defaultCeiling } from '../../../packages/executor/src/admission/host-ceiling.ts';
import { type Journal, openSqliteJournal } from '../../../packages/executor/src/journal/index.ts';
import { createExecutor } from '../../../packages/executor/src/service/compose.ts';
import { makeContract, shell } from '../contract.ts';
import { plainOwners } from './owners.ts';
import { ScriptedGate } from './scripted-gate.ts';
import { identity, makePolicy } from './workbench.ts';

async function main(): Promise<void> {
  const [mode, stateDir = '', workspace = '', seed = '', script = '', awaited = 'output'] =
    process.argv.slice(2);
  const executionMode = mode === 'hardened' ? 'hardened' : 'local';
  const gate = new ScriptedGate(Buffer.from(seed, 'hex'));
  gate.acknowledges = false;
  const policy = makePolicy(workspace);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const executor = await createExecutor(
    {
      executorId: 'executor-1',
      identity,
      stateDir,
      executionMode,
      ceiling: { ...defaultCeiling, inlineCode: true },
    },
    {
      gateKeys: gate.keys,
      owners: plainOwners([policy]),
      output: gate.output,
      journal: killedAt(awaited, openSqliteJournal(join(stateDir, 'journal.sqlite'))),
    },
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
  const isSaidBefore = awaited !== 'output' && awaited !== 'receipt';
  if (isSaidBefore) announce();
  gate.send({ $case: 'offer', value: offer });
  if (awaited === 'receipt') await gate.next('receipt', offer.executionId);
  if (awaited === 'output') await gate.output.holds(offer.executionId, 30);
  if (!isSaidBefore) announce();
  setInterval(() => {}, 1000);
}

/** A journal at one step of which this process is killed, as if somebody had. */
function killedAt(moment: string, journal: Journal): Journal {
  const around = async <T>(step: string, take: () => Promise<T>): Promise<T> => {
    if (moment === `before ${step}`) process.kill(process.pid, 'SIGKILL');
    const taken = await take();
    if (moment === `after ${step}`) process.kill(process.pid, 'SIGKILL');
    return taken;
  };
  return {
    ...journal,
    redeem: (redemption) => around('redeem', () => journal.redeem(redemption)),
    progress: (id, draft) => around('progress', () => journal.progress(id, draft)),
    finish: (id, seal) => around('finish', () => journal.finish(id, seal)),
  };
}

void main();
