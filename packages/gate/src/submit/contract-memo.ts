import type { CanonicalContract } from '@csc-fleet/common/contract';
import { type AskedBeside, type Evaluation, evaluate } from '@csc-fleet/common/decision';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { CheckRequest } from '@csc-fleet/common/rpc';
import { parse } from './decide.ts';

/** A contract as it was read, and what a policy says of it. */
export interface ReadContract {
  readonly handed: CanonicalContract;
  /** `evaluate`, without a host. */
  readonly judge: (policy: PolicyDocument, asked: AskedBeside) => Evaluation;
}

/** How much is remembered at most. */
export interface MemoBounds {
  /** Identities whose contracts are, those who asked last. */
  readonly principals: number;
  /** Of one identity. */
  readonly contracts: number;
  /** Of one identity: of the texts as they came. What is kept of one is some five times as long. */
  readonly bytes: number;
}

const usualBounds: MemoBounds = { principals: 32, contracts: 32, bytes: 128 * 1024 };

/**
 * Contracts that came at least twice, read and judged, for whoever hands in the same bytes again and again: a retry, a
 * nightly job. Of one that came once only a mark is kept: to keep each, where all are different, cost a sixth of
 * deciding on them, as what is kept outlives V8's young space. Kept is what follows from the bytes alone, or from them
 * and one policy; what depends on the clock, on who asks, on approvals, on a freeze or a revocation, and the decision
 * that is signed, is made anew each time.
 *
 * Each identity has a memory of its own: how fast an answer comes tells nobody what others have asked, and who asks for ever
 * new contracts takes nobody else's from it.
 */
export class ContractMemo {
  readonly #bounds: MemoBounds;
  /** Whoever asked longest ago first. */
  readonly #own = new Map<string, Own>();
  /** Who asked last: whoever goes on asking need not be put there again. */
  #last = '';

  constructor(bounds = usualBounds) {
    this.#bounds = bounds;
  }

  /** @param principal a SPIFFE id. Throws CONTRACT_INVALID with every fault. */
  read(principal: string, submitted: CheckRequest['contract']): ReadContract {
    if (submitted?.$case !== 'contractJson' || submitted.value.length > this.#bounds.bytes)
      return toRead(parse(submitted));
    const known = this.#find(principal, submitted.value);
    const read = known ?? toRead(parse(submitted));
    return {
      handed: read.handed,
      // By then it is known that some policy is for this identity.
      judge: (policy, asked) => {
        this.#keep(principal, submitted.value, read, known !== undefined);
        return read.judge(policy, asked);
      },
    };
  }

  #find(principal: string, bytes: Buffer): ReadContract | undefined {
    const contracts = this.#own.get(principal)?.contracts;
    return contracts === undefined || contracts.size === 0 ? undefined : contracts.get(toKey(bytes));
  }

  #keep(principal: string, bytes: Buffer, read: ReadContract, isKnown: boolean): void {
    const { contracts, marks } = this.#ownOf(principal);
    if (!isKnown && !marks.sawBefore(read.handed.contractSha256)) return;
    // A Map gives what was put into it first, first.
    putLast(contracts, toKey(bytes), read);
    while (contracts.size > this.#bounds.contracts || bytesOf(contracts) > this.#bounds.bytes)
      dropFirst(contracts);
  }

  #ownOf(principal: string): Own {
    const own = this.#own.get(principal) ?? { contracts: new Map(), marks: new Marks() };
    if (this.#last === principal) return own;
    this.#last = principal;
    putLast(this.#own, principal, own);
    if (this.#own.size > this.#bounds.principals) dropFirst(this.#own);
    return own;
  }
}

/** What is remembered of one identity. */
interface Own {
  /** By their bytes. */
  readonly contracts: Map<string, ReadContract>;
  readonly marks: Marks;
}

/** Which contracts came last: of each 32 bits of its hash, which is enough to keep one in vain seldom, and nothing to collect. */
class Marks {
  readonly #marks = new Uint32Array(64);
  #next = 0;

  /** Whether it is among those that came last, as from now on it is. @param sha256 in hex */
  sawBefore(sha256: string): boolean {
    const mark = Number.parseInt(sha256.slice(0, 8), 16);
    if (this.#marks.includes(mark)) return true;
    this.#marks[this.#next] = mark;
    this.#next = (this.#next + 1) % this.#marks.length;
    return false;
  }
}

// A character a byte: only the very same bytes are the same key.
function toKey(bytes: Buffer): string {
  return bytes.toString('latin1');
}

// Remembers the last policy that judged it, by identity: the same file read anew is another one.
function toRead(handed: CanonicalContract): ReadContract {
  let last: { readonly policy: PolicyDocument; readonly evaluation: Evaluation } | undefined;
  return {
    handed,
    judge(policy, asked) {
      if (asked.terminal === true) return evaluate(handed.contract, policy, undefined, asked);
      if (last?.policy !== policy)
        last = { policy, evaluation: evaluate(handed.contract, policy, undefined, asked) };
      return last.evaluation;
    },
  };
}

function putLast<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
}

function dropFirst(map: Map<string, unknown>): void {
  const [first] = map.keys();
  if (first !== undefined) map.delete(first);
}

function bytesOf(own: ReadonlyMap<string, unknown>): number {
  let sum = 0;
  for (const { length } of own.keys()) sum += length;
  return sum;
}
