import type { ChainLink } from '@csc-fleet/common/evidence';
import type { Command, SealAt } from './commits.ts';
import type { OperationName, SealHere } from './operations.ts';
import { readChain, type Statements } from './statements.ts';

/** What was signed for a place in the chain that is the next one as far as is known: it counts where it is. */
export interface SealedAhead {
  readonly link: ChainLink;
  readonly sealed: ReturnType<SealHere>;
}

// What may come before a receipt in one transaction and changes neither where its chain goes on, nor whether it has one.
const leavesTheChain: ReadonlySet<OperationName> = new Set<OperationName>([
  ...(['redeem', 'refuse', 'progress', 'finish', 'acknowledge', 'prune'] as const),
]);

/**
 * Signs what these commands are going to sign, for the places that the chain on disk has next: by the place of the command.
 * So the transaction need not stop for it. None where that is not certain enough, or signing throws: it is asked for then.
 * Nothing is signed of an execution that has its receipt.
 */
export function sealAhead(
  statements: Statements,
  commands: readonly Command[],
  sealAt: SealAt,
): readonly (SealedAhead | undefined)[] {
  if (!commands.every(({ name }) => leavesTheChain.has(name))) return [];
  if (!commands.some(signs)) return [];
  const ahead: (SealedAhead | undefined)[] = [];
  const seen = new Set<unknown>();
  try {
    const { epoch, sequence, head } = readChain(statements);
    let link: ChainLink = { epoch, sequence: sequence + 1, previousSha256: head };
    for (const [index, command] of commands.entries()) {
      if (!signs(command) || !isOpen(statements, command, seen)) continue;
      const sealed = sealAt(index, link);
      ahead[index] = { link, sealed };
      link = { epoch, sequence: link.sequence + 1, previousSha256: sealed.receiptSha256 };
    }
  } catch {
    // It is thrown again where it is asked for, to who is to be told.
  }
  return ahead;
}

function signs({ name }: Command): boolean {
  return name === 'finish' || name === 'refuse';
}

// A second `finish` gives the receipt of the first.
function isOpen(statements: Statements, { name, args: [executionId] }: Command, seen: Set<unknown>): boolean {
  if (name !== 'finish') return true;
  if (typeof executionId !== 'string' || seen.has(executionId)) return false;
  seen.add(executionId);
  return statements.find.get(executionId)?.['receipt_json'] === null;
}

/** Whether it is the same place: nothing that was signed for another may take it. */
export function isSamePlace(one: ChainLink, other: ChainLink): boolean {
  return (
    one.epoch === other.epoch &&
    one.sequence === other.sequence &&
    one.previousSha256 === other.previousSha256
  );
}
