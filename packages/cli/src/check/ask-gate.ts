import { parseContract } from '@csc-fleet/common/contract';
import type { AskedBeside } from '@csc-fleet/common/decision';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { exitCodeOfFailure } from '../action/act.ts';
import { connectGate } from '../connect/connect-gate.ts';
import type { GateOptions } from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { readInput } from '../files/read-input.ts';
import { describeDecision } from '../show/decision.ts';
import { decisionJson } from '../show/messages-json.ts';
import { toDecisionView } from '../show/outcome.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { describeLeftToHosts, exitCodeOfVerdict } from './decide.ts';

interface Asked extends AskedBeside {
  readonly json: boolean;
  readonly profile: string | undefined;
}

/**
 * Has the gate decide and prints that. Resolves to the exit code of `csc check`; of what fails it tells itself, as it comes in a
 * bundle of its own, with errors of its own.
 */
export async function askGate(contractPath: string, gate: GateOptions, asked: Asked): Promise<number> {
  try {
    return await ask(contractPath, gate, asked);
  } catch (error) {
    return exitCodeOfFailure(error, asked.json);
  }
}

async function ask(contractPath: string, gate: GateOptions, asked: Asked): Promise<number> {
  const { json, profile: policyProfile, terminal } = asked;
  using client = connectGate(gate, await identify(gate));
  const contract = await readInput(contractPath, artifactBytes.contract);
  const decision = await client.check(contract, { policyProfile, terminal });
  const view = toDecisionView(decision);
  if (json) await writeJson(decisionJson(decision));
  else {
    await writeOut(`${describeDecision(view, createPaint(process.stdout))}\n`);
    note(plainLine(`csc: by the policy ${decision.policyProfile} (sha256 ${decision.policySha256})`));
    const read = parseContract(contract);
    const left = read.ok && view.verdict !== 'deny' ? describeLeftToHosts(read.value, asked) : [];
    for (const it of left) note(plainLine(`csc: a host may still refuse: ${it}`));
  }
  return exitCodeOfVerdict[view.verdict];
}
