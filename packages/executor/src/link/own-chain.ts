import { createKeyRing, type Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { openChainHead, signChainHead } from '@csc-fleet/common/evidence';
import type { ChainHead } from '@csc-fleet/common/receipt';
import type { Log } from '@csc-fleet/common/service';
import type { Journal } from '../journal/index.ts';

interface OwnChainPorts {
  /** Whose chain it is, and the key of its receipts. */
  readonly introduction: { readonly identity: string; readonly signer: Signer };
  readonly journal: Pick<Journal, 'epoch' | 'beginEpoch' | 'bornAt' | 'head'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What this host and its gate tell each other of the chain of its receipts, which a disk that was set back has forgotten. */
export class OwnChain {
  readonly #ports: OwnChainPorts;
  readonly #onBegun: () => void;
  /** Of the chain head that the gate was told last. */
  #saidSequence = 0;
  #beginning = false;

  /** @param onBegun called when another epoch has begun, which the gate hears of with the next Hello */
  constructor(ports: OwnChainPorts, onBegun: () => void) {
    this.#ports = ports;
    this.#onBegun = onBegun;
  }

  /** True while another epoch begins, and for good where that failed: tickets for the old one may be on their way. */
  get isBeginning(): boolean {
    return this.#beginning;
  }

  /**
   * The gate has shown the newest head that it knows; empty: none. Where this host's journal is behind it, a new epoch
   * begins.
   */
  heard(chainHeadJson: Uint8Array): void {
    const forgotten = chainHeadJson.length === 0 ? undefined : this.#findForgotten(chainHeadJson);
    if (forgotten !== undefined) void this.#beginEpoch(forgotten);
  }

  // Only what this host has signed itself says so: a gate can keep that from it, and cannot make it up.
  #findForgotten(chainHeadJson: Uint8Array): ChainHead | undefined {
    const { introduction, journal, log } = this.#ports;
    const { identity, signer } = introduction;
    try {
      const known = openChainHead(chainHeadJson, identity, createKeyRing([signer]));
      return isOlder(journal, known) ? known : undefined;
    } catch (error) {
      log.warn({ error }, 'what the gate says of the chain of receipts does not count');
      return undefined;
    }
  }

  async #beginEpoch({ signature: { signed_at: signedAt } }: ChainHead): Promise<void> {
    const { journal, log } = this.#ports;
    if (this.#beginning) return;
    this.#beginning = true;
    const before = journal.epoch;
    try {
      await journal.beginEpoch({ signedUntil: new Date(signedAt) });
      log.error({ before, epoch: journal.epoch }, rolledBackNote);
      this.#onBegun();
    } catch (error) {
      log.error(
        { error },
        'this disk is older than what this host has signed, and no new epoch could begin: nothing is taken (csc executor new-epoch)',
      );
      return;
    }
    this.#beginning = false;
  }

  /**
   * The newest head, signed; empty where there is none or it cannot be read.
   * @param said `once`: empty, too, where nothing was signed since the last
   */
  head(said: 'again' | 'once'): Buffer {
    const { introduction, journal, clock, log } = this.#ports;
    const { identity, signer } = introduction;
    try {
      const head = journal.head();
      if (head === undefined || (said === 'once' && head.sequence === this.#saidSequence))
        return Buffer.alloc(0);
      this.#saidSequence = head.sequence;
      return signChainHead(identity, { epoch: journal.epoch, ...head }, signer, clock.now());
    } catch (error) {
      log.error({ error }, 'the head of the chain of receipts could not be read; it is said later');
      return Buffer.alloc(0);
    }
  }
}

const rolledBackNote =
  'THE DISK OF THIS HOST IS OLDER THAN WHAT IT HAS SIGNED: was its state directory restored? It begins a new epoch, and nothing that was submitted before counts (csc executor new-epoch does so before the first start)';

// A head of another epoch that was signed after this journal began is of the one that came after this one.
function isOlder(
  journal: Pick<Journal, 'epoch' | 'bornAt' | 'head'>,
  { executor_epoch: epoch, sequence, receipt_sha256: sha256, signature }: ChainHead,
): boolean {
  if (epoch !== journal.epoch) return new Date(signature.signed_at) > journal.bornAt();
  const own = journal.head();
  if (own === undefined || own.sequence !== sequence) return sequence > (own?.sequence ?? 0);
  return own.receiptSha256 !== sha256.toLowerCase();
}
