// Gates with a log of receipts, all of them under one key, and what clients and others see of such a log.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  connect,
  createSeenLogs,
  type GateClient,
  type LogEvidence,
  type LogOptions,
  type SeenLogs,
} from '@csc-fleet/client';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import type { ChainEntry } from '@csc-fleet/common/evidence';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import {
  emptyRoot,
  formatVkey,
  leafHash,
  type NoteKey,
  parseCheckpoint,
  signCheckpoint,
  TreeEdge,
} from '@csc-fleet/common/tlog';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import {
  agent,
  inMemory,
  logOrigin,
  TestGate,
  type TestGateOptions,
} from '@csc-fleet/test-kit/gate/test-gate';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import type { LogFiles } from '../../../packages/cli/src/evidence/walk-log.ts';
import type { Gate } from '../../../packages/gate/src/service/compose.ts';

export const logSigner = createSigner(generateKeyPair().seed, logOrigin);

export const logKey: NoteKey = { name: logOrigin, type: 'ed25519', publicKey: logSigner.publicKey };

export const vkey = formatVkey(logKey);

export const logInvalid = (message: RegExp) =>
  expect.objectContaining({ code: 'LOG_INVALID', message: expect.stringMatching(message) });

export type Prove = Gate['methods']['proveReceipts'];

export interface Stage {
  readonly test: TestGate;
  readonly executor: ScriptedExecutor;
  readonly address: string;
  /** A client of this gate that demands its log. */
  client(log?: Partial<LogOptions>): GateClient;
  /** Something that has run, with its receipt at the gate, which stands in a chain where a number is given. */
  ran(sequence?: number): Promise<string>;
}

/** How a stage is set up. */
export type StageOptions = readonly [
  options?: Partial<TestGateOptions>,
  /** What it answers instead, where it is asked for proofs. */
  lie?: (prove: Prove) => Prove,
  /** Told what to close at the end. Absent: with the test. */
  finished?: (close: () => Promise<void>) => void,
];

/** A gate, with a log of its own under the one key. */
export async function openStage(
  pki: TestPki,
  ...[options = {}, lie = (prove) => prove, finished = onTestFinished]: StageOptions
): Promise<Stage> {
  const test = await TestGate.open({ log: logSigner, ...options });
  finished(() => test.close());
  const { gate } = test;
  const prove = lie(gate.methods.proveReceipts);
  // What comes beside a receipt is the same lie.
  const getReceipt: Gate['methods']['getReceipt'] = async ({ request, ...call }) => {
    const { executionId, prove: wanted } = request;
    const receipt = await gate.methods.getReceipt({ ...call, request: { executionId } });
    if (wanted === undefined) return receipt;
    const executionIds = [...wanted.executionIds, executionId];
    const proof = await prove({ ...call, request: { ...wanted, executionIds } }).catch(() => undefined);
    return { ...receipt, proof };
  };
  const methods = { ...gate.methods, getReceipt, proveReceipts: prove };
  const served = await ServedGate.start({ ...gate, methods }, pki);
  finished(() => served.stop());
  const executor = await test.connected('e1', { slots: 9 });
  return {
    test,
    executor,
    address: served.address,
    ran: async (sequence) => {
      const { executionId } = await test.submit(makeContract());
      const offer = await executor.next('offer', executionId);
      await executor.accept(executionId);
      if (sequence === undefined) await executor.finish(offer);
      else {
        const { receiptJson, originalJson = Buffer.alloc(0) } = executor.chained(offer, {}, { sequence });
        executor.say({
          $case: 'receipt',
          value: { executionId, receiptJson, originalJson, outputLogLength: 0 },
        });
        await executor.next('receiptAck', executionId);
      }
      return executionId;
    },
    client: (log = {}) => {
      const client = connect({
        address: served.address,
        tls: pki.files('client-agent'),
        log: { vkey, ...log },
      });
      onTestFinished(() => client.close());
      return client;
    },
  };
}

/** `openStage` for all tests of a file, under certificates that are its own and go with it. */
export function stagesOfFile(): (...options: StageOptions) => Promise<Stage> {
  let pki: TestPki;
  beforeAll(async () => {
    pki = await TestPki.make();
  });
  afterAll(() => pki.remove());
  return (...options) => openStage(pki, ...options);
}

/** What a client remembers, and what it has kept as evidence. */
export function logMemory(): SeenLogs & { readonly evidence: LogEvidence[] } {
  const evidence: LogEvidence[] = [];
  return {
    ...createSeenLogs(),
    evidence,
    accuse: async (_, found) => {
      evidence.push(found);
      return 'a file';
    },
  };
}

export const sizeOf = async (seen: SeenLogs): Promise<number> => {
  const { checkpoint = '' } = await seen.seenOf(vkey);
  const parsed = parseCheckpoint(Buffer.from(checkpoint));
  return parsed.ok ? parsed.value.checkpoint.size : -1;
};

// Who asks where.
export const placeOf = (own: Stage) => `${agent} at ${own.address}`;

export const treeOf = ({ test }: Stage): string => join(test.directory, 'log', 'tree');

export const logFilesIn =
  (directory: string): LogFiles =>
  async (path) =>
    existsSync(join(directory, path)) ? readFileSync(join(directory, path)) : undefined;

/** Receipts as a host has exported them. */
export async function exportedReceipts({ test }: Stage, ids: readonly string[]): Promise<ChainEntry[]> {
  return Promise.all(
    ids.map(async (executionId) => {
      const { receiptJson } = await test.as(agent).getReceipt({ executionId });
      const receipt = JSON.parse(receiptJson.toString()) as ReceiptV02;
      return { name: executionId, receipt, sha256: sha256Hex(receiptJson) };
    }),
  );
}

/** A checkpoint of another tree. */
export const otherCheckpoint = (signer = logSigner, origin = logOrigin, size = 2) =>
  signCheckpoint({ origin, size, root: emptyRoot }, signer);

export function emptyDirectory(): string {
  const directory = mkdtempSync(join(inMemory, 'csc-log-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** A witness of that log, behind HTTP. */

/** A tree under the log's real key. */
export function forged(entries: readonly (string | Uint8Array)[]) {
  const edge = new TreeEdge();
  for (const entry of entries) edge.add(leafHash(typeof entry === 'string' ? Buffer.from(entry) : entry));
  return Buffer.from(signCheckpoint({ origin: logOrigin, ...edge.head() }, logSigner));
}
