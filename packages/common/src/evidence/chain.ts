import type { ReceiptV02 } from '../receipt/index.ts';

/** A receipt of a chain, as a verifier holds it. */
export interface ChainEntry {
  /** Where it was found, for people. */
  readonly name: string;
  readonly receipt: ReceiptV02;
  /** Lower-case hex, of its canonical JSON. */
  readonly sha256: string;
}

/** What is wrong with a chain. */
export interface ChainFault {
  /**
   * `gap`: receipts are missing. `fork`: two have one number. `link`: one names another before it than the one that is
   * there. `unnumbered`: one that stands in no chain.
   */
  readonly kind: 'gap' | 'fork' | 'link' | 'unnumbered';
  readonly message: string;
}

/** One executor's receipts of one epoch, in order. */
export interface Chain {
  readonly executor: string;
  readonly epoch: string;
  /** Numbers of the first and the last. */
  readonly first: number;
  readonly last: number;
  readonly faults: readonly ChainFault[];
}

/**
 * Puts genuine receipts into their chains and says what does not fit. What was before the first and comes after the last
 * of each, nothing here can tell: a signed chain head does.
 */
export function walkChains(entries: readonly ChainEntry[]): Chain[] {
  // By hand: Node 20 has no Map.groupBy.
  const chains = new Map<string, ChainEntry[]>();
  for (const entry of entries) {
    const { executor_id: executor = '', executor_epoch: epoch = '' } = entry.receipt;
    const key = JSON.stringify([executor, epoch]);
    const chain = chains.get(key);
    if (chain === undefined) chains.set(key, [entry]);
    else chain.push(entry);
  }
  return [...chains.values()].map(walkChain);
}

function walkChain(entries: readonly ChainEntry[]): Chain {
  const faults: ChainFault[] = [];
  const numbered = entries.flatMap(({ name, sha256, receipt }): ChainPlace[] => {
    const { sequence, previous_receipt_sha256: previousSha256 } = receipt;
    if (sequence !== undefined) return [{ name, sha256, sequence, previousSha256 }];
    faults.push({ kind: 'unnumbered', message: `${name} has no number: it stands in no chain` });
    return [];
  });
  numbered.sort((one, other) => one.sequence - other.sequence);
  let before: ChainPlace | undefined;
  for (const entry of numbered) {
    const fault = before === undefined ? undefined : findFault(before, entry);
    if (fault !== undefined) faults.push(fault);
    // One receipt that is there twice is no second one.
    if (fault?.kind !== 'fork') before = entry;
  }
  const [first] = entries;
  return {
    executor: first?.receipt.executor_id ?? '',
    epoch: first?.receipt.executor_epoch ?? '',
    first: numbered[0]?.sequence ?? 0,
    last: before?.sequence ?? 0,
    faults,
  };
}

/** A receipt by its place in a chain. */
export interface ChainPlace {
  /** For people. */
  readonly name: string;
  readonly sequence: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Of the one before it; undefined in the first. */
  readonly previousSha256: string | undefined;
}

/** What is wrong between two receipts of one chain, the earlier first; undefined where they fit. */
export function findFault(before: ChainPlace, after: ChainPlace): ChainFault | undefined {
  const [one, other] = [before.name, after.name];
  if (after.sequence === before.sequence) {
    if (before.sha256 === after.sha256) return undefined;
    return {
      kind: 'fork',
      message: `${one} and ${other} are two receipts with the number ${after.sequence}`,
    };
  }
  if (after.sequence > before.sequence + 1) {
    const [from, to] = [before.sequence + 1, after.sequence - 1];
    const missing =
      from === to ? `the receipt ${from} is missing` : `the receipts ${from} to ${to} are missing`;
    return { kind: 'gap', message: `${missing}, between ${one} and ${other}` };
  }
  if (after.previousSha256 === before.sha256) return undefined;
  return { kind: 'link', message: `${other} names another receipt before it than ${one}` };
}
