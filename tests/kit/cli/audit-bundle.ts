import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { canonicalBytes } from '@csc-fleet/common/encoding';
import { makeDirectory } from '@csc-fleet/common/files';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import {
  formatBundle,
  formatEntry,
  formatVkey,
  leafHash,
  signCheckpoint,
  TreeEdge,
  tilePath,
} from '@csc-fleet/common/tlog';
import chromium from '@sparticuz/chromium';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { expect } from 'vitest';
import { readBundle } from '../../../packages/cli/src/evidence/bundle.ts';
import { csc } from '../process.ts';
import { ReceiptsOfHost } from './exported-receipts.ts';

/** The audit bundle of a host's four receipts, what csc says of copies that were changed, and what a browser does. */
export class BundleOfHost extends ReceiptsOfHost {
  readonly bundle = join(this.scratch, 'bundle');
  #browser: Browser | undefined;

  override async open(): Promise<void> {
    const browser = chromium
      .executablePath()
      .then((executablePath) =>
        puppeteer.launch({ executablePath, headless: 'shell', args: [...chromium.args, '--no-sandbox'] }),
      );
    [this.#browser] = await Promise.all([browser, super.open()]);
    const from = ['--receipts', this.exported, '--fleet-ca', this.ca];
    const made = await csc(['audit', 'bundle', ...from, '--out', this.bundle]);
    const stdout = expect.stringMatching(/^bundle of 4 receipts .*sha256:[0-9a-f]{64}/);
    expect(made).toMatchObject({ code: 0, stdout });
  }

  override async close(): Promise<void> {
    await this.#browser?.close();
    await super.close();
  }

  /** The path of a copy. */
  copy(): string {
    const dir = join(this.scratch, `bundle-${Math.random().toString(36).slice(2)}`);
    cpSync(this.bundle, dir, { recursive: true });
    return dir;
  }

  /** What csc says of a copy that was changed, and what a browser says of a page that this csc makes of it. */
  async look(change: (dir: string, receipts: string[]) => void, trust = ['--fleet-ca', this.ca]) {
    const dir = this.copy();
    change(dir, receiptFiles(dir));
    const page = `${dir}.html`;
    const { code, stdout } = await csc(['audit', 'verify-bundle', dir, '--json', '--page', page, ...trust]);
    const { faults, approvals } = JSON.parse(stdout) as {
      faults: { kind: string; message: string }[];
      approvals: object;
    };
    const kinds = new Set(faults.map(({ kind }) => kind));
    return { code, kinds, faults, approvals, shown: await this.show(page) };
  }

  /** The text of a page, once its program has ended, and what it asked for or did that it must not. */
  async show(file: string) {
    const page = await this.newPage();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('dialog', (dialog) => void dialog.dismiss().then(() => asked.push('dialog')));
    page.on('pageerror', (error) => asked.push(String(error)));
    await page.goto(`file://${file}`);
    await page.waitForSelector('main.done');
    const [verdict, text, elements] = (await page.evaluate(
      "[document.querySelector('main').className, document.body.innerText, document.querySelectorAll('img, svg, iframe, a, script').length]",
    )) as [string, string, number];
    await page.close();
    return { verdict, text, elements, asked };
  }

  /** A page of the browser, which is yet to load anything. */
  newPage(): Promise<Page> {
    if (this.#browser === undefined) throw new Error('the browser is yet to be started');
    return this.#browser.newPage();
  }
}

/** The paths of a bundle's receipts, in their order. */
export function receiptFiles(dir: string): string[] {
  const [host = ''] = readdirSync(join(dir, 'receipts'));
  const [epoch = ''] = readdirSync(join(dir, 'receipts', host));
  return readdirSync(join(dir, 'receipts', host, epoch))
    .sort()
    .map((name) => join(dir, 'receipts', host, epoch, name));
}

/** The certificates that a receipt has. */
export function certificatesOf(path: string): Partial<ReceiptV02> {
  const { receipt_certificates } = JSON.parse(readFileSync(path, 'utf8'));
  return { receipt_certificates };
}

/** Lists what is there as whoever has made the bundle would, who also may have the keys of the gate. */
export function relist(dir: string): void {
  const files = [...readBundle(dir)].flatMap(([path, bytes]) =>
    path === 'MANIFEST.json'
      ? []
      : [{ path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }],
  );
  changeManifest(dir, { files });
  // Its page tells of what was there before.
  rmSync(join(dir, 'index.html'), { force: true });
}

/** Puts members in the place of those that the manifest has. */
export function changeManifest(dir: string, members: object): void {
  const path = join(dir, 'MANIFEST.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, canonicalBytes({ ...manifest, ...members }));
}

/** A log for a bundle, by the name of log.example. */
export class LogOfBundle {
  readonly #signer = createSigner(generateKeyPair().seed, 'log.example');
  readonly vkey = vkeyOf(this.#signer);

  /**
   * The end of a log that has entries of a gate's own, and then the receipts; and an audit from the first of those on.
   * @param owner of the receipts
   * @param by default: the log's own key
   */
  addTo(dir: string, receipts: readonly string[], owner: string, by = this.#signer): void {
    const entry_version = 'csc.log-entry.v0.1' as const;
    const entries = Array.from({ length: 300 }, (_, index) =>
      formatEntry({
        entry_version,
        receipt_sha256: 'a'.repeat(64),
        execution_id: 'x',
        audit_sequence: index + 1,
      }),
    );
    for (const [index, path] of receipts.entries()) {
      const bytes = readFileSync(path);
      const { execution_id, sequence, executor_epoch } = JSON.parse(bytes.toString());
      const receipt_sha256 = createHash('sha256').update(bytes).digest('hex');
      const place = { executor: owner, executor_epoch, sequence };
      entries.push(
        formatEntry({ entry_version, receipt_sha256, execution_id, ...place, audit_sequence: 301 + index }),
      );
    }
    const put = (path: string, bytes: Uint8Array | string): void => {
      makeDirectory(dirname(join(dir, 'log', path)));
      writeFileSync(join(dir, 'log', path), bytes);
    };
    const edge = new TreeEdge();
    for (const [index, entry] of entries.entries()) {
      if (index === 256) for (const { tile, bytes } of edge.partial()) put(tilePath(tile), bytes);
      edge.add(leafHash(entry));
    }
    const rest = entries.slice(256);
    put(tilePath({ level: 'entries', index: 1, width: rest.length }), formatBundle(rest));
    put('checkpoint', signCheckpoint({ origin: 'log.example', ...edge.head() }, by));
    writeFileSync(join(dir, 'trust/log.vkey'), this.vkey);
    writeFileSync(join(dir, 'audit.jsonl'), '{"metadata":{"sequence":301}}\n');
  }
}

/** Of a log of that name which this key signs. */
export function vkeyOf({ publicKey }: Signer): string {
  return formatVkey({ name: 'log.example', type: 'ed25519', publicKey });
}
