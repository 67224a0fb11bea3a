import { connectGate } from '../connect/connect-gate.ts';
import type { GateOptions } from '../connect/gate-options.ts';
import { executionJson, stateName } from '../connect/messages-json.ts';
import { exitCodes } from '../exit-codes.ts';
import { plainLine } from '../terminal/plain-text.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';

/** Asks for an execution's end and prints how it stands. */
export async function cancelExecution(
  executionId: string,
  options: GateOptions & { readonly grace?: number; readonly json?: true },
): Promise<number> {
  using client = connectGate(options);
  const execution = await client.cancel(executionId, { gracePeriodMs: options.grace });
  if (options.json === true) await writeJson(executionJson(execution));
  else await writeOut(`${plainLine(execution.executionId)} ${stateName(execution.state)}\n`);
  return exitCodes.ok;
}
