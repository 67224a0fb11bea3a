import { createHash, generateKeyPairSync, sign as signWith, X509Certificate } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { signApproval } from '@csc-fleet/common/approval';
import { type BundleProgress, verifyBundle } from '@csc-fleet/common/audit-bundle';
import {
  createKeyRing,
  createSigner,
  generateKeyPair,
  type PersonSigner,
  type Signer,
  sshString,
} from '@csc-fleet/common/crypto';
import { canonicalBytes } from '@csc-fleet/common/encoding';
import { makeDirectory } from '@csc-fleet/common/files';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import {
  addFiles,
  initRepository,
  publishStaged,
  rootBytes,
  signStaged,
} from '@csc-fleet/common/policy-repository';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import {
  cosignText,
  formatBundle,
  formatEntry,
  formatSignatureLine,
  formatVkey,
  leafHash,
  signCheckpoint,
  TreeEdge,
  tilePath,
  toLogTrust,
} from '@csc-fleet/common/tlog';
import {
  forgeReceipt,
  ReceiptsOfHost,
  readReceipt,
  receiptFile,
} from '@csc-fleet/test-kit/cli/exported-receipts';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { publishUnread } from '@csc-fleet/test-kit/policy-repository';
import { csc } from '@csc-fleet/test-kit/process';
import chromium from '@sparticuz/chromium';
import puppeteer, { type Browser } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBundle } from '../evidence/bundle.ts';
import { toPage } from '../evidence/page.ts';
import { writeFileWhole } from '../files/write-file.ts';

const host = new ReceiptsOfHost();
const { owner, signer, scratch, pki, exported, keys } = host;

beforeAll(() => host.open());

afterAll(() => host.close());

describe('an audit bundle', () => {
  const bundle = join(scratch, 'bundle');
  const caFile = join(pki, 'ca.pem');
  let browser: Browser;

  beforeAll(async () => {
    const made = await csc([
      'audit',
      'bundle',
      '--receipts',
      exported,
      '--fleet-ca',
      caFile,
      '--out',
      bundle,
    ]);
    expect(made).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^bundle of 4 receipts .*sha256:[0-9a-f]{64}/),
    });
    browser = await puppeteer.launch({
      executablePath: await chromium.executablePath(),
      headless: 'shell',
      args: [...chromium.args, '--no-sandbox'],
    });
  });

  afterAll(() => browser.close());

  it('is of all runs of a time: what would leave gaps in chains is refused, and nothing written', async () => {
    const [out, from] = [join(scratch, 'partial'), ['--receipts', exported, '--fleet-ca', caFile]];
    const filters = [
      ...[
        ['--principal', 'ci-7'],
        ['--executor', 'h'],
        ['--profile', 'build'],
        ['--approver', 'bob'],
      ],
      ...[['--policy-version', '3'], ['--outcome', 'failed'], ['--from-sequence', '2'], ['--follow']],
    ];
    for (const [flag = '', ...value] of filters) {
      const refused = await csc(['audit', 'bundle', ...from, '--out', out, flag, ...value]);
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain(`leave out ${flag} `);
    }
    const reversed = ['--since', '1m', '--until', '1h'];
    for (const command of [['bundle', ...from, '--out', out], []]) {
      const refused = await csc(['audit', ...command, ...reversed]);
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/--since \S+ is not before --until \S+: nothing is in between/);
    }
    expect(existsSync(out)).toBe(false);
    const times = ['--since', '1h', '--until', '2100-01-01T00:00:00Z'];
    expect((await csc(['audit', 'bundle', ...from, '--out', out, ...times])).code).toBe(0);
  });

  it('has of the file of a CA its certificates alone, and none where it holds none', async () => {
    const [out, both] = [join(scratch, 'certificates-alone'), join(scratch, 'ca-and-key.pem')];
    writeFileSync(both, Buffer.concat([readFileSync(join(pki, 'ca.key')), readFileSync(caFile)]));
    const bundle = (file: string) =>
      csc(['audit', 'bundle', '--receipts', exported, '--fleet-ca', file, '--out', out]);
    expect((await bundle(keys)).stderr).toContain('no certificate in PEM');
    expect(existsSync(out)).toBe(false);
    expect((await bundle(both)).code).toBe(0);
    expect(readFileSync(join(out, 'trust/ca.pem'), 'utf8')).toBe(readFileSync(caFile, 'utf8'));
    expect((await csc(['audit', 'verify-bundle', out, '--fleet-ca', both])).code).toBe(0);
  });

  it('has each profile of a repository as it is written, by the hash that receipts name', async () => {
    const [out, owners] = [join(scratch, 'with-policies'), join(scratch, 'published')];
    mkdirSync(owners);
    // What may be left out is.
    writeFileSync(join(owners, 'build.yaml'), testPolicy('/w'));
    const from = ['--receipts', exported, '--policy-repository', owners, '--fleet-ca', caFile];
    expect((await csc(['audit', 'bundle', ...from, '--out', out])).code).toBe(0);
    expect(readdirSync(join(out, 'policies'))).toHaveLength(1);
    const verified = await csc(['audit', 'verify-bundle', out, '--json', '--fleet-ca', caFile]);
    expect(JSON.parse(verified.stdout)).toMatchObject({ valid: true, faults: [] });
    const told = await csc(['audit', 'verify-bundle', out, '--fleet-ca', caFile]);
    expect(told.stdout).toContain('THAT THE OWNERS SIGNED IT WAS NOT VERIFIED');
  });

  it('says once what is wrong with all receipts, as with the CA of another fleet', async () => {
    const other = join(scratch, 'pki-of-another');
    await createDevelopmentPki(other, { executors: ['executor-1'] });
    const { stdout } = await csc([
      ...['audit', 'verify-bundle', bundle, '--fleet-ca'],
      join(other, 'ca.pem'),
    ]);
    expect(stdout).toMatch(/^ {2}certificate: 4 receipts, from receipts\/\S+ to receipts\/\S+, each: the/m);
  });

  const receiptFiles = (dir: string): string[] => {
    const [host = ''] = readdirSync(join(dir, 'receipts'));
    const [epoch = ''] = readdirSync(join(dir, 'receipts', host));
    return readdirSync(join(dir, 'receipts', host, epoch))
      .sort()
      .map((name) => join(dir, 'receipts', host, epoch, name));
  };

  /** What csc says, and what a browser says of a page that this csc makes of the same folder. */
  async function look(change: (dir: string, receipts: string[]) => void, trust = ['--fleet-ca', caFile]) {
    const dir = join(scratch, `bundle-${Math.random().toString(36).slice(2)}`);
    cpSync(bundle, dir, { recursive: true });
    change(dir, receiptFiles(dir));
    const page = `${dir}.html`;
    const { code, stdout } = await csc(['audit', 'verify-bundle', dir, '--json', '--page', page, ...trust]);
    const { faults, approvals } = JSON.parse(stdout) as {
      faults: { kind: string; message: string }[];
      approvals: object;
    };
    return {
      code,
      kinds: new Set(faults.map(({ kind }) => kind)),
      faults,
      approvals,
      shown: await show(page),
    };
  }

  /** The text of a page, once its program has ended, and what it asked for or did that it must not. */
  async function show(file: string) {
    const page = await browser.newPage();
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

  it('is verified by csc and by a browser, offline, with who ran what', async () => {
    const { code, faults, shown } = await look(() => undefined);
    expect({ code, faults }).toEqual({ code: 0, faults: [] });
    expect(shown.verdict).toBe('done holds');
    expect(shown.text).toContain('All 4 receipts verify');
    expect(shown.text).toMatch(/executor-1[\s\S]*signature verified/);
    // Nothing but itself, and the two scripts that it has.
    expect([shown.asked.length, shown.elements]).toEqual([1, 2]);
    expect((await show(join(bundle, 'index.html'))).verdict).toBe('done holds');
  });

  it('says where its page is another than csc makes of it, or is not there', async () => {
    const dir = join(scratch, 'bundle-of-another-page');
    cpSync(bundle, dir, { recursive: true });
    const [page, manifest] = [join(dir, 'index.html'), join(dir, 'MANIFEST.json')];
    const verify = ['audit', 'verify-bundle', dir, '--fleet-ca', caFile];
    const said = async () => {
      const { code, stdout } = await csc([...verify, '--json']);
      const { page: is, faults } = JSON.parse(stdout) as { page: string; faults: { kind: string }[] };
      return [code, is, faults.map(({ kind }) => kind)];
    };
    expect(await said()).toEqual([0, 'own', []]);
    writeFileSync(page, readFileSync(page, 'utf8').replace('<title>', '<title>All is well: '));
    expect(await said()).toEqual([1, 'other', ['page']]);
    // Another version makes another page, which is no fault, and is said.
    const facts = JSON.parse(readFileSync(manifest, 'utf8'));
    writeFileSync(manifest, canonicalBytes({ ...facts, software: 'csc 0.0.1' }));
    expect(await said()).toEqual([0, 'other', []]);
    expect((await csc(verify)).stdout).toMatch(/^VALID\n[\s\S]*index.html IS NOT the page/);
    rmSync(page);
    expect((await csc(verify)).stdout).toMatch(/^VALID\n[\s\S]*index.html is not there/);
    await csc([...verify, '--page', page]);
    expect(await said()).toEqual([0, 'own', []]);
  });

  it.each<[string, string[], (dir: string, receipts: string[]) => void]>([
    ['a receipt that was taken out', ['file', 'gap'], (_dir, [, second = '']) => rmSync(second)],
    [
      'a receipt that was taken out of the manifest, too',
      ['gap'],
      (dir, [, second = '']) => {
        rmSync(second);
        const manifest = JSON.parse(readFileSync(join(dir, 'MANIFEST.json'), 'utf8'));
        const files = manifest.files.filter((it: { path: string }) => !second.endsWith(it.path));
        writeFileSync(join(dir, 'MANIFEST.json'), canonicalBytes({ ...manifest, files }));
      },
    ],
    [
      'one byte that was changed',
      ['file', 'signature', 'gap'],
      (_dir, [, second = '']) =>
        writeFileSync(second, readFileSync(second, 'utf8').replace('"contract_id":"t', '"contract_id":"T')),
    ],
    [
      'a receipt of another executor in the place of one',
      ['file', 'certificate', 'gap'],
      (_dir, [, second = '']) => writeFileSync(second, strangersReceipt()),
    ],
    [
      'a receipt of the same executor in another place',
      ['file', 'place', 'gap'],
      (_dir, [, second = '', third = '']) => writeFileSync(second, readFileSync(third)),
    ],
    [
      'two receipts of the same executor, each in the place of the other',
      ['file', 'place', 'gap'],
      (_dir, [, second = '', third = '']) => {
        const bytes = readFileSync(second);
        writeFileSync(second, readFileSync(third));
        writeFileSync(third, bytes);
      },
    ],
    [
      'a receipt that stands in for one that is gone, as a second one of its own place',
      ['file', 'place'],
      (_dir, receipts) => {
        const [first = '', , , last = ''] = receipts;
        const bytes = readFileSync(first);
        const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
        writeFileSync(first.replace(/\.json$/, `.other-${hash}.json`), bytes);
        rmSync(last);
      },
    ],
    ['a file that nobody lists', ['file'], (dir) => writeFileSync(join(dir, 'more.json'), '{}')],
  ])('does not hide %s, from csc or from a browser', async (_what, kinds, change) => {
    const { code, kinds: found, shown } = await look(change);
    expect(code).toBe(1);
    expect(found).toEqual(new Set(kinds));
    expect(shown.verdict).toBe('done faulty');
    for (const kind of kinds) expect(shown.text).toContain(`${kind}: `);
  });

  const logSigner = createSigner(generateKeyPair().seed, 'log.example');
  const vkey = formatVkey({ name: 'log.example', type: 'ed25519', publicKey: logSigner.publicKey });

  /** The end of a log that has entries of a gate's own, and then the receipts; and an audit from the first of those on. */
  function addLog(dir: string, receipts: readonly string[], by = logSigner): void {
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
    writeFileSync(join(dir, 'trust/log.vkey'), vkey);
    writeFileSync(join(dir, 'audit.jsonl'), '{"metadata":{"sequence":301}}\n');
  }

  // As whoever has made it would, who also may have the keys of the gate.
  function relist(dir: string): void {
    const files = [...readBundle(dir)].flatMap(([path, bytes]) =>
      path === 'MANIFEST.json'
        ? []
        : [{ path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }],
    );
    const manifest = JSON.parse(readFileSync(join(dir, 'MANIFEST.json'), 'utf8'));
    writeFileSync(join(dir, 'MANIFEST.json'), canonicalBytes({ ...manifest, files }));
    // Its page tells of what was there before.
    rmSync(join(dir, 'index.html'), { force: true });
  }

  it('is held against the log that is in it, by csc and by a browser', async () => {
    const { faults, shown } = await look((dir, receipts) => {
      addLog(dir, receipts);
      relist(dir);
    });
    expect(faults).toEqual([]);
    expect(shown.text).not.toContain('What does not hold');
    expect(shown.verdict).toBe('done holds');
    expect(shown.text).toContain(
      'log.example of 304 entries, signed with the key below: 4 receipts are in it',
    );
  });

  it('is held against who has cosigned its log, and when: by what that covers, and not by how old it is now', async () => {
    const witness = createSigner(generateKeyPair().seed, 'w.example');
    const ofWitness = formatVkey({ name: 'w.example', type: 'cosignature', publicKey: witness.publicKey });
    const [ofLog, ofW] = [join(scratch, 'log.vkey'), join(scratch, 'w.vkey')];
    writeFileSync(ofLog, vkey);
    writeFileSync(ofW, ofWitness);
    let endedAt = 0;
    const judge = (offMs: number) =>
      look(
        (dir, receipts) => {
          addLog(dir, receipts);
          const path = join(dir, 'log/checkpoint');
          const note = readFileSync(path, 'utf8');
          const ended = receipts.map((it) => Date.parse(JSON.parse(readFileSync(it, 'utf8')).ended_at));
          endedAt = Math.max(...ended);
          const text = `${note.split('\n\n')[0]}\n`;
          const seconds = Math.floor((endedAt + offMs) / 1000);
          writeFileSync(path, note + formatSignatureLine(cosignText(text, 'w.example', witness, seconds)));
          relist(dir);
        },
        ['--fleet-ca', caFile, '--log-vkey', ofLog, '--witness-vkey', ofW],
      );
    for (const offMs of [0, -86_400_000]) expect((await judge(offMs)).faults).toEqual([]);
    for (const offMs of [-86_702_000, 3_600_000]) {
      const { kinds, faults } = await judge(offMs);
      expect(kinds).toEqual(new Set(['log']));
      expect(faults[0]?.message).toMatch(/1 are due: w.example did at 20\S+Z, and what counts is from/);
    }
    // As it is looked at in ten years.
    const dir = join(scratch, 'bundle-of-then');
    cpSync(bundle, dir, { recursive: true });
    addLog(dir, receiptFiles(dir));
    const path = join(dir, 'log/checkpoint');
    const note = readFileSync(path, 'utf8');
    const line = cosignText(`${note.split('\n\n')[0]}\n`, 'w.example', witness, Math.floor(endedAt / 1000));
    writeFileSync(path, note + formatSignatureLine(line));
    relist(dir);
    const ring = createKeyRing([{ ...signer, owner }]);
    const { log } = await verifyBundle(readBundle(dir), () => ring, {
      logTrust: toLogTrust({ vkey, witnessVkeys: [ofWitness], quorum: 1 }),
      now: new Date(Date.now() + 10 * 365 * 86_400_000),
    });
    expect(log).toMatchObject({ cosigners: 1, included: 4 });
  });

  it.each<[string, string[], (dir: string, receipts: string[]) => void]>([
    [
      'without the last of a chain, made anew with the keys of its gate',
      ['missing'],
      (dir, receipts) => {
        addLog(dir, receipts);
        rmSync(receipts.at(-1) ?? '');
      },
    ],
    [
      'with a log that another has signed',
      ['log'],
      (dir, receipts) => addLog(dir, receipts, createSigner(generateKeyPair().seed, 'log.example')),
    ],
    [
      'with a receipt that is not in its log',
      ['log'],
      (dir, receipts) => {
        addLog(dir, receipts.slice(0, 3));
        const path = join(dir, 'MANIFEST.json');
        const manifest = JSON.parse(readFileSync(path, 'utf8'));
        const later = { made_at: '2099-01-01T00:00:00.000Z', asked: { since: '2001-01-01T00:00:00.000Z' } };
        writeFileSync(path, canonicalBytes({ ...manifest, ...later }));
      },
    ],
    [
      'with a receipt that is not in its log, and is dated ahead of when it was made',
      ['ahead'],
      (dir, receipts) => {
        addLog(dir, receipts.slice(0, 3));
        const path = join(dir, 'MANIFEST.json');
        const manifest = JSON.parse(readFileSync(path, 'utf8'));
        writeFileSync(path, canonicalBytes({ ...manifest, made_at: '2001-01-01T00:00:00.000Z' }));
      },
    ],
    [
      'that was asked for without a beginning, with a receipt that is not in the end of its log',
      ['log'],
      (dir, receipts) => {
        addLog(dir, receipts.slice(0, 3));
        const row = { metadata: { sequence: 301 }, time: Date.parse('2001-01-01T00:00:00.000Z') };
        writeFileSync(join(dir, 'audit.jsonl'), `${JSON.stringify(row)}\n`);
        const path = join(dir, 'MANIFEST.json');
        const manifest = JSON.parse(readFileSync(path, 'utf8'));
        writeFileSync(path, canonicalBytes({ ...manifest, made_at: '2099-01-01T00:00:00.000Z', asked: {} }));
      },
    ],
    [
      'with another entry in its log than the checkpoint has',
      ['log'],
      (dir, receipts) => {
        addLog(dir, receipts);
        const path = join(dir, 'log/tile/entries/001.p/48');
        writeFileSync(
          path,
          readFileSync(path, 'latin1').replace('"execution_id":"x"', '"execution_id":"y"'),
          'latin1',
        );
      },
    ],
  ])('does not hold %s', async (_what, kinds, change) => {
    const {
      code,
      kinds: found,
      shown,
    } = await look((dir, receipts) => {
      change(dir, receipts);
      relist(dir);
    });
    expect([code, [...found]]).toEqual([1, kinds]);
    expect(shown.verdict).toBe('done faulty');
    for (const kind of kinds) expect(shown.text).toContain(`${kind}: `);
    expect(shown.text).toContain('1 faults: this bundle does not hold');
  });

  it('of thousands of files lets a browser live, which shows a thousand of them at a time', async () => {
    const dir = join(scratch, 'large');
    cpSync(bundle, dir, { recursive: true });
    const place = dirname(receiptFiles(dir)[0] ?? '');
    for (let index = 100; index < 1300; index += 1) writeFileSync(join(place, receiptFile(index)), '{}');
    const records = Array.from(
      { length: 2400 },
      (_, time) => `${JSON.stringify({ time, status_detail: `no ${time}` })}\n`,
    );
    writeFileSync(
      join(dir, 'audit.jsonl'),
      `${JSON.stringify({ status_detail: 'x'.repeat(1_000_000) })}\n${records.join('')}`,
    );
    relist(dir);
    const files = readBundle(dir);
    const turns = new Map<string, number>();
    const pause = ({ what, done, of }: BundleProgress): undefined => {
      if (done > of) throw new Error('more than there are');
      turns.set(what, (turns.get(what) ?? 0) + 1);
    };
    await verifyBundle(files, () => createKeyRing([]), { pause });
    expect([...turns].map(([what, count]) => [what, count >= 1200])).toEqual([
      ['files', true],
      ['receipts', true],
      ['records of the audit', true],
    ]);
    // The audit is in parts.
    const pieces = [...toPage(files)];
    expect(pieces.filter((it) => it.includes('"audit.jsonl"')).length).toBeGreaterThan(1);
    const html = join(scratch, 'large.html');
    writeFileWhole(html, pieces);
    const page = await browser.newPage();
    await page.goto(`file://${html}`);
    await page.waitForSelector('main.done');
    const look = async (does: string) =>
      (await page.evaluate(`{ ${does} }; [
      document.querySelector('.verdict').innerText,
      document.querySelectorAll('.faults li').length,
      Math.max(...[...document.querySelectorAll('tbody')].map((it) => it.rows.length)),
      document.querySelector('tbody').rows[0].innerText,
      [...document.querySelectorAll('tbody')].at(-1).rows[0].innerText,
    ]`)) as [string, number, number, string, string];
    const [verdict, faults, rows, first] = await look('');
    expect(verdict).toBe('1200 faults: this bundle does not hold. 4 receipts verify.');
    expect([faults, rows]).toEqual([1000, 1000]);
    expect(first).toContain('NOT VERIFIED');
    const audit = '[...document.querySelectorAll(".listing")].at(-1)';
    expect((await look(`${audit}.querySelectorAll('button')[1].click()`))[4]).toContain('no 999');
    const filtered = await look(
      `const it = ${audit}.querySelector('input'); it.value = 'NO 2399'; it.dispatchEvent(new Event('input'))`,
    );
    expect(filtered[4]).toContain('no 2399');
    await page.close();
  }, 30_000);

  it('that is larger than a browser bears has a page that says so, and verifies nothing', async () => {
    const html = join(scratch, 'too-large.html');
    writeFileWhole(html, toPage(readBundle(bundle), 1000));
    const shown = await show(html);
    expect([shown.verdict, shown.elements]).toEqual(['done faulty', 0]);
    expect(shown.text).toContain('NOT VERIFIED: this bundle has more than the 1000 bytes that a page holds');
  });

  it('is read with an audit that is longer than any file of an owner', () => {
    const dir = join(scratch, 'long-audit');
    makeDirectory(dir);
    writeFileSync(join(dir, 'audit.jsonl'), Buffer.alloc(9 * 1_048_576));
    expect(readBundle(dir).get('audit.jsonl')).toHaveLength(9 * 1_048_576);
  });

  it('is not believed with another CA than its own, by csc; and shows which it brings', async () => {
    const other = join(scratch, 'bundle-pki');
    await createDevelopmentPki(other);
    const { code, kinds, shown } = await look(() => undefined, ['--fleet-ca', join(other, 'ca.pem')]);
    expect([code, [...kinds]]).toEqual([1, ['certificate']]);
    const { fingerprint256 } = new X509Certificate(readFileSync(caFile));
    expect(shown.text).toContain(fingerprint256.replaceAll(':', '').toLowerCase());
    // Nor by a browser, where the bundle brings another.
    const brought = await look((dir) => copyFileSync(join(other, 'ca.pem'), join(dir, 'trust/ca.pem')), []);
    expect([brought.code, brought.shown.verdict]).toEqual([1, 'done faulty']);
    expect(brought.shown.text).toContain('they do not lead to the CA that is pinned');
  });

  it('shows hostile text as text: it neither runs, nor asks, nor turns', async () => {
    const hostile = '</script><img src=x onerror=alert(1)>\u202e<!--<script>alert(2)</script>';
    const { shown } = await look((dir, [, second = '', , last = '']) => {
      const [directory, name] = [dirname(last), basename(last)];
      expect(name).toBe(receiptFile(4));
      writeFileSync(
        last,
        forgeReceipt(directory, 4, signer, { error: hostile, principal: hostile, ...certified(last) }),
      );
      writeFileSync(join(dir, 'audit.jsonl'), `${JSON.stringify({ time: 1, status_detail: hostile })}\n`);
      writeFileSync(join(dirname(second), '<img src=x onerror=alert(3)>.json'), hostile);
    });
    expect(shown.text).toContain('</script><img src=x onerror=alert(1)>\\u202e<!--<script>alert(2)</script>');
    expect(shown.text).not.toContain('\u202e');
    expect([shown.asked.length, shown.elements]).toEqual([1, 2]);
  });

  const nonce = 'a'.repeat(32);
  const identity = 'spiffe://csc.local/client/alice';
  const approvalOf = ({ contract_sha256, policy_sha256 = '' }: ReceiptV02) =>
    ({
      approval_version: 'csc.approval.v0.2',
      approval_id: nonce,
      verdict: 'approve',
      contract_sha256,
      policy_profile: 'p',
      policy_sha256,
      submission_sha256: 'any',
      principal: 'spiffe://csc.local/client/bob',
      approver: { identity, method: 'cli' },
      group: 'release',
      scope: 'single_execution',
      audience: { trust_domain: 'csc.local' },
      approved_at: '2026-01-01T00:00:00Z',
      expires_at: '2026-01-01T01:00:00Z',
    }) as const;
  const usedOf = (artifact: string) =>
    ({
      approval_id: nonce,
      approver: identity,
      scope: 'single_execution',
      kind: 'approval',
      group: 'release',
      sha256: createHash('sha256').update(artifact).digest('hex'),
      artifact,
    }) as const;

  it('names what stood in for approvals, and does not hide one that its person has not signed for it', async () => {
    const alice = generateKeyPair();
    const person = createSigner(alice.seed, 'alice-key');
    const { signers, lines } = keysOfEachKind();
    const pem = JSON.stringify(alice.publicPem);
    const approvers = [
      'approvers_version: csc.approvers.v0.1',
      'approvers: # of alice alone',
      `- identity: ${identity}`,
      '  keys:',
      `  - {key_id: alice-key, public_key: ${pem}}`,
      ...lines.map((line, index) => `  - {key_id: ${signers[index]?.keyId}, public_key: "${line}"}`),
      'groups:',
      `- {name: release, members: ["${identity}"]}`,
      '',
    ].join('\n');
    const [epoch = ''] = readdirSync(exported);
    const approval = approvalOf(readReceipt(join(exported, epoch), 4));
    type Approval = Omit<typeof approval, 'approver'> & { approver: { identity: string; method: 'cli' } };
    const signBy = async (own: Approval, by: PersonSigner) =>
      (await signApproval(own, by, new Date())).toString();
    const sign = (own: Approval, by: Signer) =>
      signBy(own, { keyId: 'alice-key', algorithm: 'ed25519', sign: (it) => by.sign(it) });
    const lookAt = (
      artifact: string | string[],
      kind: 'approval' | 'break_glass' = 'approval',
      approver = identity,
    ) =>
      look((dir, [, , , last = '']) => {
        makeDirectory(join(dir, 'repository/targets'));
        writeFileSync(join(dir, 'repository/targets/0a.approvers.yaml'), approvers);
        const approvals = [
          ...[artifact].flat().map((it) => ({ ...usedOf(it), approver, kind })),
          { approval_id: 'a-2', approver: 'carol', scope: 'single_execution' },
        ];
        const principal = 'spiffe://csc.local/client/bob';
        writeFileSync(
          last,
          forgeReceipt(dirname(last), 4, signer, { principal, approvals, ...certified(last) }),
        );
      });
    const good = await lookAt([
      await sign(approval, person),
      ...(await Promise.all(signers.map((it) => signBy(approval, it)))),
    ]);
    expect([...good.kinds]).toEqual(['file']);
    expect(good.approvals).toEqual({ signed: 4, unknown: 0 });
    expect(good.shown.text).toContain('4 approvals signed by keys of approvers.yaml in repository/, 0 by');
    expect(good.shown.text).toContain(`${identity} of release (${nonce}): signature verified`);
    expect(good.shown.text).not.toContain('approval: ');
    expect(good.shown.text).toContain('carol, unsigned: as its gate said (a-2)');
    const forged = await lookAt(await sign(approval, createSigner(generateKeyPair().seed, 'alice-key')));
    expect(forged.kinds).toEqual(new Set(['file', 'approval']));
    expect(forged.shown.text).toMatch(/approval: .* does not fit the content and the key/);
    expect(forged.shown.text).toContain(`${identity} of release (${nonce}): NOT VERIFIED — the signature`);
    expect(forged.shown.text).toContain('0 approvals signed by keys');
    // With a real key of hers, under the name of somebody whom the owners do not name.
    const mallory = 'spiffe://csc.local/client/mallory';
    const theirs = { ...approval, approver: { identity: mallory, method: 'cli' } } as const;
    const stranger = await lookAt(await sign(theirs, person), 'approval', mallory);
    expect(stranger.approvals).toEqual({ signed: 0, unknown: 1 });
    expect(stranger.shown.text).toContain(`${mallory} of release (${nonce}): NOT VERIFIED: by no key`);
    expect(stranger.shown.text).toContain(
      '0 approvals signed by keys of approvers.yaml in repository/, 1 by',
    );
    for (const [audience, what] of [
      [{ trust_domain: 'other.example' }, 'trust domain'],
      [{ trust_domain: 'csc.local', executor_id: 'executor-2' }, 'executor'],
    ] as const) {
      const elsewhere = await lookAt(await sign({ ...approval, audience } as unknown as Approval, person));
      expect(elsewhere.kinds).toEqual(new Set(['file', 'approval']));
      expect(elsewhere.shown.text).toContain(`what the person signed is for another ${what}`);
    }
    const others = await lookAt(await sign({ ...approval, contract_sha256: '0'.repeat(64) }, person));
    expect(others.kinds).toEqual(new Set(['file', 'approval']));
    expect(others.shown.text).toContain('what the person signed is for another contract');
    const glass = await lookAt(await sign(approval, person), 'break_glass');
    expect(glass.shown.text).toContain('what the person signed is for another kind');
    expect(glass.shown.text).toContain(
      `GLASS BROKEN, without approval, by ${identity} of release (${nonce})`,
    );
  }, 30_000);

  it('is held against the owners’ root: what a gate puts in the place of theirs is refused by name', async () => {
    const [alice, mallory, ownersKey, gateKey] = ['alice-key', 'alice-key', 'owner', 'online'].map((name) =>
      createSigner(generateKeyPair().seed, name),
    ) as [Signer, Signer, Signer, Signer];
    const alias = 'spiffe://csc.local/client/alice-at-work';
    const people = (by: Signer) =>
      `approvers_version: csc.approvers.v0.1\napprovers: [{identity: ${identity}, also: [${alias}], keys: [{key_id: alice-key, public_key: ${Buffer.from(by.publicKey).toString('hex')}}]}]\ngroups: [{name: release, members: ["${identity}"]}]\n`;
    const publishAs = (
      name: string,
      by: Signer,
      files: readonly Record<string, string>[],
      now = new Date('2025-01-01T00:00:00Z'),
    ): string => {
      const dir = join(scratch, name);
      const own = { publicKeys: [by.publicKey], threshold: 1 };
      initRepository(dir, { root: own, targets: own, online: gateKey.publicKey }, now);
      for (const version of files) {
        addFiles(dir, new Map(Object.entries(version).map(([path, text]) => [path, Buffer.from(text)])));
        signStaged(dir, by, now);
        publishStaged(dir, gateKey, now);
      }
      return dir;
    };
    const bindings =
      'bindings_version: csc.bindings.v0.2\nbindings: [{identity: "spiffe://csc.local/client/*", policies: [test]}]\n';
    const revoked = (since: string) =>
      `revoked_version: csc.revoked.v0.1\nrevoked: [{kind: key, id: alice-key, since: "${since}", reason: stolen}]\n`;
    const policies = {
      'policies/test.yaml': JSON.stringify(host.bench.policy.written ?? host.bench.policy.policy),
      'bindings.yaml': bindings,
    };
    const all = { ...policies, 'approvers.yaml': people(alice) };
    const owners = publishAs('owners', ownersKey, [
      all,
      {
        'revoked.yaml': revoked('2099-01-01T00:00:00Z'),
        'log.yaml': `log_version: csc.log.v0.1\nvkey: ${vkey}\n`,
      },
    ]);
    const theirs = publishAs('gates', mallory, [{ ...all, 'approvers.yaml': people(mallory) }]);
    const root = join(scratch, 'owners-root.json');
    writeFileSync(root, rootBytes(owners));
    type Fault = { readonly kind: string; readonly message: string };
    const judge = async (
      folder: string,
      by: Signer,
      change: (dir: string) => void = () => undefined,
      receipt: Partial<ReceiptV02> = {},
    ) => {
      const dir = join(scratch, `owned-${Math.random().toString(36).slice(2)}`);
      cpSync(bundle, dir, { recursive: true });
      cpSync(join(folder, 'published'), join(dir, 'repository'), { recursive: true });
      const last = receiptFiles(dir).at(-1) ?? '';
      const approval = approvalOf(readReceipt(dirname(last), 4));
      const signed = {
        keyId: 'alice-key',
        algorithm: 'ed25519',
        sign: (it: Uint8Array) => by.sign(it),
      } as const;
      const approvals = [usedOf((await signApproval(approval, signed, new Date())).toString())];
      const members = { principal: approval.principal, policy_version: 1, approvals, ...certified(last) };
      writeFileSync(last, forgeReceipt(dirname(last), 4, signer, { ...members, ...receipt }));
      change(dir);
      relist(dir);
      const tell = async (...trust: string[]) => {
        const given = ['audit', 'verify-bundle', dir, '--fleet-ca', caFile, ...trust];
        const { code, stdout } = await csc([...given, '--json']);
        const said = JSON.parse(stdout) as { owners: object; approvals: object; faults: Fault[] };
        return {
          code,
          ...said,
          given,
          text: said.faults.map((it) => `${it.kind}: ${it.message}`).join('\n'),
        };
      };
      return { own: await tell(), held: await tell('--owners-root', root) };
    };
    const replaceIn = (dir: string, text: string, as: string) => {
      const [there = ''] = readdirSync(join(dir, 'repository/targets')).filter((it) => it.endsWith(`.${as}`));
      const hash = createHash('sha256').update(text).digest('hex');
      rmSync(join(dir, 'repository/targets', there));
      writeFileSync(join(dir, 'repository/targets', `${hash}.${as}`), text);
    };

    const good = await judge(owners, alice);
    expect(good.held).toMatchObject({ code: 0, faults: [], approvals: { signed: 1, unknown: 0 } });
    expect(good.held.owners).toMatchObject({ verified: true, root: 1, receipts_without_version: 2 });
    const heldText = (await csc(good.held.given)).stdout;
    expect(heldText).toMatch(
      /version 1 of the owners’ files, signed at 2025-.* by keys of root 1, .*: 1 runs/,
    );
    expect(good.own).toMatchObject({ code: 0, owners: { verified: false } });
    expect((await csc(good.own.given)).stdout).toContain('THAT THE OWNERS SIGNED IT WAS NOT VERIFIED');

    const replaced = await judge(owners, mallory, (dir) => replaceIn(dir, people(mallory), 'approvers.yaml'));
    expect(replaced.own).toMatchObject({ code: 0, approvals: { signed: 1, unknown: 0 } });
    expect(replaced.held.code).toBe(1);
    expect(replaced.held.text).toMatch(
      /repository\/targets\/[0-9a-f]{64}\.approvers\.yaml is not the owners’/,
    );
    expect(replaced.held.text).toContain(
      'approvers.yaml of version 1 is not here as the owners have signed it',
    );
    expect(replaced.held.text).toMatch(
      /approval: .* of spiffe:\/\/csc.local\/client\/alice: no approvers.yaml that the owners/,
    );

    const whole = await judge(theirs, mallory);
    expect(whole.own.code).toBe(0);
    expect(whole.held.code).toBe(1);
    expect(whole.held.text).toContain('repository/metadata/1.targets.json is not the owners’');
    expect(whole.held.text).toContain('version 1 of the owners’ files, which it ran by, is not here');
    // Said once, and not of each approval: nobody knows who might give them.
    expect(whole.held.text).toMatch(
      /is not here as they have signed it; whether those who approved might \(1 approvals\)/,
    );
    expect(whole.held.text).not.toMatch(/^approval:/m);
    expect(whole.held.approvals).toEqual({ signed: 0, unknown: 1 });

    const other = await judge(owners, alice, () => undefined, {
      policy_sha256: 'a'.repeat(64),
      approvals: [],
    });
    expect(other.held.faults).toMatchObject([
      {
        kind: 'policy',
        message: expect.stringContaining('which the owners have not signed: version 1 has another'),
      },
    ]);
    const token = {
      issuer: 'https://ci.example',
      subject: 'x',
      token_sha256: 'a'.repeat(64),
      binding: 'key',
    } as const;
    // Of several commands the last was refused: the others ran.
    const partly = { status: 'failed', ended: 'refused', exit_code: 126 } as const;
    const half = await judge(owners, alice, () => undefined, { ...partly, policy_sha256: 'a'.repeat(64) });
    expect(half.held.faults.map(({ kind }) => kind)).toContain('policy');
    const strange = await judge(owners, alice, () => undefined, { identity: token });
    expect(strange.held.faults).toMatchObject([{ kind: 'identity' }]);

    expect(heldText).toContain('THE LOG OF RECEIPTS THAT THE OWNERS NAME IS NOT IN IT');
    const stranger = createSigner(generateKeyPair().seed, 'log.example');
    const strangers = formatVkey({ name: 'log.example', type: 'ed25519', publicKey: stranger.publicKey });
    const logged = await judge(owners, alice, (dir) => {
      addLog(dir, receiptFiles(dir), stranger);
      writeFileSync(join(dir, 'trust/log.vkey'), strangers);
    });
    expect([logged.own.code, logged.held.faults.map(({ kind }) => kind)]).toEqual([0, ['log']]);

    // What the newest version has revoked from before on counts no more, whatever was known then.
    const named = { ...all, 'log.yaml': `log_version: csc.log.v0.1\nvkey: ${vkey}\n` };
    const versions = [named, { 'revoked.yaml': revoked('2025-01-02T00:00:00Z') }];
    const late = publishAs('late', ownersKey, versions, new Date());
    writeFileSync(root, rootBytes(late));
    const stolen = await judge(late, alice);
    for (const { code, faults } of [stolen.own, stolen.held])
      expect([code, faults]).toMatchObject([
        1,
        [
          {
            kind: 'approval',
            message: expect.stringMatching(/was revoked at 2025-01-02T00:00:00.*before the run began/),
          },
        ],
      ]);
    // A person is revoked with all of their keys, by whichever of their names, from then on; what was before stays evidence.
    const gone = (id: string, since: string) =>
      `revoked_version: csc.revoked.v0.1\nrevoked: [{kind: principal, id: "${id}", since: "${since}", reason: left}]\n`;
    for (const [index, id] of [identity, alias].entries()) {
      const files = [named, { 'revoked.yaml': gone(id, '2025-01-02T00:00:00Z') }];
      const left = publishAs(`left-${index}`, ownersKey, files, new Date());
      writeFileSync(root, rootBytes(left));
      const { own, held } = await judge(left, alice);
      for (const { code, text } of [own, held]) {
        expect(code).toBe(1);
        expect(text).toMatch(/^approval: .* was revoked at 2025-01-02T00:00:00.*before the run began$/);
      }
    }
    const stays = publishAs(
      'stays',
      ownersKey,
      [named, { 'revoked.yaml': gone(identity, '2099-01-01T00:00:00Z') }],
      new Date(),
    );
    writeFileSync(root, rootBytes(stays));
    const before = await judge(stays, alice);
    for (const { code, approvals } of [before.own, before.held])
      expect([code, approvals]).toEqual([0, { signed: 1, unknown: 0 }]);
    // Who was revoked by a file that cannot be read, nobody knows: it is no bundle that holds.
    publishUnread(
      stays,
      { owner: ownersKey, online: gateKey },
      'revoked.yaml',
      'revoked_version: csc.revoked.v9\n',
    );
    const unread = await judge(stays, alice);
    for (const { code, text } of [unread.own, unread.held]) {
      expect(code).toBe(1);
      expect(text).toMatch(/^owners: .*revoked.yaml.* cannot be read/);
    }
    const out = join(scratch, 'with-owners-log');
    const ofOwners = ['--log-of', join(late, 'published'), '--owners-root', root];
    const from = ['--receipts', exported, '--fleet-ca', caFile, '--out', out];
    expect((await csc(['audit', 'bundle', ...from, ...ofOwners])).code).toBe(0);
    expect(readFileSync(join(out, 'trust/log.vkey'), 'utf8')).toBe(`${vkey}\n`);
  });

  it.each([
    ['approvers.yaml', 'approvers_version: csc.approvers.v9\n'],
    ['revoked.yaml', 'revoked_version: csc.revoked.v9\n'],
    ['revoked.yaml', 'revoked: ['],
  ])('fails where an owners’ file in it cannot be read: %s, %j', async (name, content) => {
    const { code, faults, shown } = await look((dir) => {
      makeDirectory(join(dir, 'repository/targets/policies'));
      writeFileSync(join(dir, `repository/targets/0a.${name}`), content);
      // A profile of that name is none.
      writeFileSync(join(dir, `repository/targets/policies/0a.${name}`), testPolicy('/w'));
      relist(dir);
    });
    expect([code, faults]).toMatchObject([1, [{ kind: 'owners', file: `repository/targets/0a.${name}` }]]);
    expect(shown.text).toContain(`owners: repository/targets/0a.${name} cannot be read`);
  });

  /** An OpenSSH key and two security keys, and what approvers.yaml has of them. */
  function keysOfEachKind(): { readonly signers: PersonSigner[]; readonly lines: string[] } {
    const agent = createSigner(generateKeyPair().seed, 'alice-agent');
    const sk = createSigner(generateKeyPair().seed, 'alice-sk');
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x = '', y = '' } = p256.publicKey.export({ format: 'jwk' });
    const point = Buffer.concat([Buffer.from([4]), ...[x, y].map((it) => Buffer.from(it, 'base64url'))]);
    const line = (type: string, ...strings: (string | Uint8Array)[]): string =>
      `${type} ${Buffer.concat([type, ...strings].map((it) => sshString(Buffer.from(it)))).toString('base64')}`;
    // PROTOCOL.u2f: who was touched signs so.
    const touched = (signs: (bytes: Uint8Array) => Uint8Array) => (message: Uint8Array) => {
      const sha256 = (it: string | Uint8Array): Buffer => createHash('sha256').update(it).digest();
      const trailer = Buffer.from([1, 0, 0, 0, 7]);
      return Buffer.concat([signs(Buffer.concat([sha256('ssh:'), trailer, sha256(message)])), trailer]);
    };
    const ecdsa = { key: p256.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    return {
      signers: [
        { keyId: agent.keyId, algorithm: 'sshsig-ed25519', sign: (it) => agent.sign(it) },
        { keyId: sk.keyId, algorithm: 'sshsig-sk-ed25519', sign: touched((it) => sk.sign(it)) },
        {
          keyId: 'alice-p256',
          algorithm: 'sshsig-sk-ecdsa-p256',
          sign: touched((it) => signWith('sha256', it, ecdsa)),
        },
      ],
      lines: [
        line('ssh-ed25519', agent.publicKey),
        line('sk-ssh-ed25519@openssh.com', sk.publicKey, 'ssh:'),
        line('sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', point, 'ssh:'),
      ],
    };
  }

  const certified = (path: string) => {
    const { receipt_certificates } = JSON.parse(readFileSync(path, 'utf8'));
    return { receipt_certificates };
  };

  // With the certificates of this fleet's executor, which are not of the key that has signed it.
  function strangersReceipt(): Buffer {
    const stranger = createSigner(generateKeyPair().seed, 'executor-2-key');
    const [epoch = ''] = readdirSync(exported);
    return forgeReceipt(join(exported, epoch), 2, stranger, {
      executor_id: 'executor-2',
      receipt_certificates: [],
    });
  }
});
