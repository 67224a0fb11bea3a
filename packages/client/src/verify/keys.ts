import { createCertifiedRing, createKeyRing, type KeyEntry, type KeyRing } from '@csc-fleet/common/crypto';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import {
  certifiedKey,
  checkSignersDomain,
  claimedKeyId,
  type FleetCa,
  findSigner,
  type ReceiptTexts,
} from '@csc-fleet/common/evidence';
import { getKeys } from '../calls/calls.ts';
import type { Connection } from '../connection/connection.ts';
import type { SeenChains } from './chains.ts';

/** Where the public keys come from that receipts are verified with. */
export interface KeySource {
  /** A ring that holds the key that this receipt says it is signed with, where that can be had at all. Throws RECEIPT_INVALID. */
  ringFor(texts: ReceiptTexts, signal?: AbortSignal): Promise<KeyRing>;
  /** Told of the key that an executor's receipt has verified with; throws where that key must not count. */
  accept?(key: ExecutorKey): Promise<void>;
  /** What executors' chains a receipt is held against. Absent: none. */
  readonly seen?: SeenChains;
}

/**
 * Keys that the caller has pinned: no other key counts for an executor. The gate is asked for keys of gates alone, which
 * sign that nothing ran: that it refuses is the gate's own to say.
 */
export function pinnedKeys(pinned: KeyRing, connection: Connection): KeySource {
  const gates = keysOfGates(connection);
  return {
    ringFor: async (texts, signal) => {
      const keyId = claimedKeyId(texts.receiptJson);
      if (pinned.find(keyId) !== undefined) return pinned;
      const ring = await gates.ringFor(texts, signal);
      if (ring.find(keyId) === undefined) throw notPinned(keyId, pinned);
      return ring;
    },
  };
}

function notPinned(keyId: string, pinned: KeyRing): CscError {
  const known = pinned.entries().map((it) => `${quoteBriefly(it.keyId)} of ${it.owner ?? 'nobody named'}`);
  const shown = known.slice(0, mostNamed).join(', ') + (known.length > mostNamed ? ', …' : '');
  const message =
    `no key with the id ${quoteBriefly(keyId)} is trusted, with which the receipt is signed; pinned are ${shown}. ` +
    'Either its host is not among them, or was set up anew, or somebody forges its receipts; nothing of this one counts. ' +
    'Ask the owner of the host for the output of csc executor keys there; if that is the key, pin what csc executor keys --export writes';
  return new CscError('KEY_UNKNOWN', message);
}

const mostNamed = 5;

/**
 * Keys that the fleet's CA has certified, and those that are pinned beside it: what an executor has signed brings the proof
 * of whose key it is, and the gate is not asked.
 */
export function certifiedKeys(
  { ca, trustDomain }: CertifyingFleet,
  pinned: KeyRing | undefined,
  connection: Connection,
): KeySource {
  const others = pinned === undefined ? keysOfGates(connection) : pinnedKeys(pinned, connection);
  return {
    ringFor: async (texts, signal) => {
      const certified = certifiedKey(texts, ca);
      if (certified === undefined) return others.ringFor(texts, signal);
      // A CA may certify for several fleets: the executors of another one have nothing to say of what ran in this.
      if (trustDomain !== undefined) checkSignersDomain(certified.owner, [trustDomain]);
      return createCertifiedRing(certified, pinned?.entries() ?? []);
    },
  };
}

/** Whose executors count. */
export interface CertifyingFleet {
  readonly ca: FleetCa;
  /** Of the caller; undefined: it is not known, and not looked at. */
  readonly trustDomain: string | undefined;
}

function keysOfGates(connection: Connection): KeySource {
  const named = gateKeys(connection);
  return {
    ringFor: async (texts, signal) => {
      const keyId = claimedKeyId(texts.receiptJson);
      const key = (await named.ringFor(texts, signal)).find(keyId);
      return createKeyRing(key !== undefined && isOfGate(key.owner) ? [key] : []);
    },
  };
}

/** The keys that the gate names, held against those that the executors were met with before. */
export function knownKeys(known: KnownExecutors, connection: Connection): KeySource {
  return { ...gateKeys(connection), accept: (key) => checkKnown(known, key) };
}

// Each key is asked for by its id, once: a fleet has more keys than a client ever needs.
function gateKeys(connection: Connection): KeySource {
  const keys = new Map<string, KeyEntry>();
  return {
    ringFor: async ({ receiptJson }, signal) => {
      const keyId = claimedKeyId(receiptJson);
      if (!keys.has(keyId)) {
        const found = await getKeys(connection, [keyId], signal);
        for (const key of found.filter((it) => it.keyId === keyId)) keys.set(keyId, key);
      }
      const key = keys.get(keyId);
      return createKeyRing(key === undefined ? [] : [key]);
    },
  };
}

function isOfGate(owner: string | undefined): boolean {
  return owner !== undefined && findSigner(owner)?.role === 'gate';
}

/** A receipt key of an executor. */
export type ExecutorKey = KeyEntry & { readonly owner: string };

/**
 * The receipt keys that executors were met with, so that a gate cannot put another in the place of one later: trust on
 * first use, as SSH has it. Keep it between processes, or each begins anew.
 */
export interface KnownExecutors {
  /** All keys that this executor, a SPIFFE id, was met with; none where it never was. */
  keysOf(owner: string): Promise<readonly ExecutorKey[]>;
  /** Remembers a key that a receipt has verified with, the first of its owner. */
  remember(key: ExecutorKey): Promise<void>;
  /** Where it is kept, for people who have to change it. */
  readonly place: string;
}

/** Forgets everything with the process. */
export function createKnownExecutors(): KnownExecutors {
  const keys: ExecutorKey[] = [];
  return {
    keysOf: async (owner) => keys.filter((key) => key.owner === owner),
    remember: async (key) => {
      keys.push(key);
    },
    place: 'the memory of this process',
  };
}

/** Remembers an executor's first key; throws KEY_CHANGED where it was met with others before. */
async function checkKnown(known: KnownExecutors, key: ExecutorKey): Promise<void> {
  const earlier = await known.keysOf(key.owner);
  if (earlier.length === 0) return known.remember(key);
  const same = earlier.some(
    (it) => it.keyId === key.keyId && Buffer.compare(it.publicKey, key.publicKey) === 0,
  );
  if (!same) throw keyChanged(known, key, earlier);
}

function keyChanged({ place }: KnownExecutors, key: ExecutorKey, earlier: readonly ExecutorKey[]): CscError {
  const was = earlier.map(({ keyId }) => JSON.stringify(keyId)).join(', ');
  const message =
    `THE RECEIPT KEY OF ${key.owner} HAS CHANGED: it was ${was}, and the gate now names ${JSON.stringify(key.keyId)}. ` +
    'Either the host was set up anew, or somebody forges its receipts; nothing of this one counts. Ask the owner of the ' +
    `host for the output of csc executor keys there; if that is the new key, remove the old one from ${place}`;
  return new CscError('KEY_CHANGED', message);
}
