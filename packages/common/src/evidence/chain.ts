import { parseIdentity } from '../identity/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';

/** A receipt of a chain, as a verifier holds it. */
export interface ChainEntry {
  /** Where it was found, for people. */
  readonly name: string;
  readonly receipt: ReceiptV02;
  /** Whose key has signed it, a SPIFFE id. Absent: what it was verified with does not say. */
  readonly owner?: string | undefined;
  /** Lower-case hex, of its canonical JSON. */
  readonly sha256: string;
}

/** What is wrong with a chain. */
export interface ChainFault {
  /**
   * `gap`: receipts are missing. `fork`: two have one number. `link`: one names another before it than the one that is
   * there. `unnumbered`: one that stands in no chain. `domain`: executors of another trust domain have signed some.
   */
  readonly kind: 'gap' | 'fork' | 'link' | 'unnumbered' | 'domain';
  readonly message: string;
}

/** One executor's receipts of one epoch, in order. */
export interface Chain {
  readonly executor: string;
  readonly epoch: string;
  /** Of whoever has signed them, in order; none where nothing says. More than one is a fault. */
  readonly trustDomains: readonly string[];
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
  const trustDomains = domainsOf(entries);
  if (trustDomains.length > 1)
    faults.push({
      kind: 'domain',
      message: `executors of ${trustDomains.join(' and ')} have signed receipts of one chain, of ${first?.receipt.executor_id}`,
    });
  return {
    executor: first?.receipt.executor_id ?? '',
    epoch: first?.receipt.executor_epoch ?? '',
    trustDomains,
    first: numbered[0]?.sequence ?? 0,
    last: before?.sequence ?? 0,
    faults,
  };
}

function domainsOf(entries: readonly ChainEntry[]): string[] {
  const domains = entries.flatMap(({ owner }) => parseIdentity(owner ?? '')?.trustDomain ?? []);
  return [...new Set(domains)].sort();
}

/**
 * For whoever has not said which fleet they mean (`ExpectedReceipt.trustDomains`): receipts name executors by names
 * that each fleet has of its own, so that those of another one, whom the same CA certifies, would pass for this one's.
 * Undefined where all are of one, as far as is known.
 */
export function judgeTrustDomains(chains: readonly Chain[]): ChainFault | undefined {
  const domains = [...new Set(chains.flatMap((it) => it.trustDomains))].sort();
  if (domains.length < 2) return undefined;
  const each = domains.map((domain) => {
    const own = chains.filter((it) => it.trustDomains.includes(domain)).map((it) => it.executor);
    const names = [...new Set(own)];
    return `${domain} (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})`;
  });
  return {
    kind: 'domain',
    message: `executors of several trust domains have signed what is here: ${each.join(', ')}. Say which of them count`,
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
