import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner, generateKeyPair, type Signer, toKeyRingJson } from '@csc-fleet/common/crypto';
import { sealChained } from '@csc-fleet/common/evidence';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { expect } from 'vitest';
import { makeContract } from '../contract.ts';
import { openWorkbench, type Workbench } from '../executor/workbench.ts';
import { csc } from '../process.ts';

/** A host whose key is certified, and the four receipts of its chain, as it has exported them. */
export class ReceiptsOfHost {
  readonly owner = 'spiffe://csc.local/executor/executor-1';
  readonly signer = createSigner(generateKeyPair().seed, 'executor-1-key');
  /** All of it, and what tests make of it. */
  readonly scratch = mkdtempSync(join(tmpdir(), 'csc-receipts-'));
  readonly pki = join(this.scratch, 'pki');
  readonly ca = join(this.pki, 'ca.pem');
  readonly exported = join(this.scratch, 'exported');
  /** A key ring file. */
  readonly keys = join(this.scratch, 'host-1.json');
  #bench: Workbench | undefined;

  /** The host itself, once there is one. */
  get bench(): Workbench {
    if (this.#bench === undefined) throw new Error('the host is yet to be opened');
    return this.#bench;
  }

  /** What an owner does: exports the key, has it certified, and names the certificate in the config. */
  async open(): Promise<void> {
    await createDevelopmentPki(this.pki);
    writeFileSync(this.keys, toKeyRingJson([{ ...this.signer, owner: this.owner }]));
    expect((await csc(['pki', 'certify', this.keys, '--dir', this.pki])).code).toBe(0);
    const bench = await openWorkbench({
      executor: {
        receiptRetentionDays: 400,
        receiptCertificate: join(this.pki, 'receipt-executor-1.pem'),
      },
      deps: { signer: this.signer },
    });
    this.#bench = bench;
    const limits = { stdout_bytes: 1, stderr_bytes: 1 };
    const v01 = { ticket: { grant: { receipt_version: 'csc.receipt.v0.1', limits } } } as const;
    for (const [command, overrides] of [
      [{}, {}],
      [{ network: 'full' }, {}],
      [{}, v01],
      [{}, {}],
    ] as const) {
      const contract = makeContract(bench.workspace, [command]);
      await bench.gate.receipt(bench.gate.offer(contract, bench.policy, overrides));
    }
    while ((await this.list()).length < 4) {}
    const state = ['--state-dir', bench.stateDir];
    const { code, stdout } = await csc(['executor', 'receipts', 'export', this.exported, ...state]);
    expect([code, stdout]).toEqual([0, expect.stringContaining('exported 4 receipts')]);
  }

  async close(): Promise<void> {
    await this.#bench?.close();
    rmSync(this.scratch, { recursive: true });
  }

  /** What the host says that it keeps. */
  async list(): Promise<{ execution_id: string; sequence: number }[]> {
    const state = ['--state-dir', this.bench.stateDir];
    const { stdout } = await csc(['executor', 'receipts', 'list', '--json', ...state]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }
}

/** The name of the receipt with this number in the folder of its epoch. */
export function receiptFile(sequence: number): string {
  return `${String(sequence).padStart(12, '0')}.json`;
}

export function readReceipt(directory: string, sequence: number): ReceiptV02 {
  return JSON.parse(readFileSync(join(directory, receiptFile(sequence)), 'utf8'));
}

/** The receipt with this number anew, as its executor, or whoever has its key, could sign it. */
export function forgeReceipt(
  directory: string,
  sequence: number,
  by: Signer,
  change: Partial<ReceiptV02>,
): Buffer {
  const {
    signature: _,
    previous_receipt_sha256: previousSha256,
    ...receipt
  } = readReceipt(directory, sequence);
  const link = { epoch: receipt.executor_epoch ?? '', sequence, previousSha256 };
  return sealChained(
    { ...receipt, ...change },
    { version: 'csc.receipt.v0.2', signer: by, now: new Date() },
    link,
  ).receiptJson;
}
