import { argvs, type Command, type CommandContract } from '@csc-fleet/common/contract';
import { evaluate } from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { showPath } from '@csc-fleet/sandbox/host';
import {
  bwrapArguments,
  defaultRunLimits,
  type HostFacts,
  keepingState,
  numberDescriptors,
  planSandbox,
  resolveScopes,
  toRunFacts,
} from '@csc-fleet/sandbox/plan';
import { exitCodes } from '../action/exit-codes.ts';
import { note } from '../terminal/streams.ts';

/** Prints on stderr, command by command, what bwrap would be told; runs nothing. */
export async function printSandbox(
  contract: CommandContract,
  policy: PolicyDocument,
  probed: Promise<HostFacts> | undefined,
  stateDir: string,
): Promise<number> {
  if (probed === undefined) throw new CscError('CONFIG_INVALID', '--sandbox-debug needs --mode hardened');
  const evaluation = evaluate(contract, policy);
  if (evaluation.verdict === 'deny') note(`DENY — ${evaluation.reasons.join('; ')}`);
  const facts = keepingState(await probed, stateDir);
  for (const command of contract.commands) note(describe(command, policy, facts));
  return exitCodes.ok;
}

function describe(command: Command, policy: PolicyDocument, facts: HostFacts): string {
  try {
    const prefix = bwrapArgv(command, policy, facts);
    return argvs(command)
      .map((argv) => `${command.id}: ${JSON.stringify([...prefix, '--', ...argv])}`)
      .join('\n');
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    return `BLOCKED ${command.id}: ${error.message}`;
  }
}

function bwrapArgv(command: Command, { policy }: PolicyDocument, hostFacts: HostFacts): string[] {
  const facts = toRunFacts(hostFacts);
  const { cwd, read_paths: readPaths, write_paths: writePaths } = command;
  const scopes = resolveScopes({ cwd, readPaths, writePaths, policy }, facts);
  try {
    const plan = planSandbox(facts, scopes, {
      environment: {},
      network: command.network,
      limits: defaultRunLimits(),
      secrets: command.secret_refs,
      unixSockets: true,
    });
    return [facts.bwrapPath, ...bwrapArguments(plan, numberDescriptors(plan)).map(showPath)];
  } finally {
    scopes.close();
  }
}
