import { createHash, X509Certificate } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type BundleProgress, verifyBundle } from '@csc-fleet/common/audit-bundle';
import { createKeyRing, createSigner, generateKeyPair, toKeyRingJson } from '@csc-fleet/common/crypto';
import { makeDirectory } from '@csc-fleet/common/files';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import {
  BundleOfHost,
  certificatesOf,
  changeManifest,
  receiptFiles,
  relist,
} from '@csc-fleet/test-kit/cli/audit-bundle';
import { forgeReceipt, receiptFile } from '@csc-fleet/test-kit/cli/exported-receipts';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { csc } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBundle } from '../evidence/bundle.ts';
import { toPage } from '../evidence/page.ts';
import { writeFileWhole } from '../files/write-file.ts';

const host = new BundleOfHost();
const { bundle, ca, scratch, signer, pki, exported, keys } = host;

beforeAll(() => host.open());

afterAll(() => host.close());

describe('an audit bundle', () => {
  it('is of all runs of a time: what would leave gaps in chains is refused, and nothing written', async () => {
    const [out, from] = [join(scratch, 'partial'), ['--receipts', exported, '--fleet-ca', ca]];
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
    writeFileSync(both, Buffer.concat([readFileSync(join(pki, 'ca.key')), readFileSync(ca)]));
    const bundle = (file: string) =>
      csc(['audit', 'bundle', '--receipts', exported, '--fleet-ca', file, '--out', out]);
    expect((await bundle(keys)).stderr).toContain('no certificate in PEM');
    expect(existsSync(out)).toBe(false);
    expect((await bundle(both)).code).toBe(0);
    expect(readFileSync(join(out, 'trust/ca.pem'), 'utf8')).toBe(readFileSync(ca, 'utf8'));
    expect((await csc(['audit', 'verify-bundle', out, '--fleet-ca', both])).code).toBe(0);
  });

  it('has each profile of a repository as it is written, by the hash that receipts name', async () => {
    const [out, owners] = [join(scratch, 'with-policies'), join(scratch, 'published')];
    mkdirSync(owners);
    // What may be left out is.
    writeFileSync(join(owners, 'build.yaml'), testPolicy('/w'));
    const from = ['--receipts', exported, '--policy-repository', owners, '--fleet-ca', ca];
    expect((await csc(['audit', 'bundle', ...from, '--out', out])).code).toBe(0);
    expect(readdirSync(join(out, 'policies'))).toHaveLength(1);
    const verified = await csc(['audit', 'verify-bundle', out, '--json', '--fleet-ca', ca]);
    expect(JSON.parse(verified.stdout)).toMatchObject({ valid: true, faults: [] });
    const told = await csc(['audit', 'verify-bundle', out, '--fleet-ca', ca]);
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

  it('is verified by csc and by a browser, offline, with who ran what', async () => {
    const { code, faults, shown } = await host.look(() => undefined);
    expect({ code, faults }).toEqual({ code: 0, faults: [] });
    expect(shown.verdict).toBe('done holds');
    expect(shown.text).toContain('All 4 receipts verify');
    expect(shown.text).toMatch(/executor-1[\s\S]*signature verified/);
    // Nothing but itself, and the two scripts that it has.
    expect([shown.asked.length, shown.elements]).toEqual([1, 2]);
    expect((await host.show(join(bundle, 'index.html'))).verdict).toBe('done holds');
  });
  it.each<[string, string[], (dir: string, receipts: string[]) => void]>([
    ['a receipt that was taken out', ['file', 'gap'], (_dir, [, second = '']) => rmSync(second)],
    [
      'a receipt that was taken out of the manifest, too',
      ['gap'],
      (dir, [, second = '']) => {
        rmSync(second);
        const { files } = JSON.parse(readFileSync(join(dir, 'MANIFEST.json'), 'utf8'));
        changeManifest(dir, { files: files.filter((it: { path: string }) => !second.endsWith(it.path)) });
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
    const { code, kinds: found, shown } = await host.look(change);
    expect(code).toBe(1);
    expect(found).toEqual(new Set(kinds));
    expect(shown.verdict).toBe('done faulty');
    for (const kind of kinds) expect(shown.text).toContain(`${kind}: `);
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
    const { code, kinds, shown } = await host.look(() => undefined, ['--fleet-ca', join(other, 'ca.pem')]);
    expect([code, [...kinds]]).toEqual([1, ['certificate']]);
    const { fingerprint256 } = new X509Certificate(readFileSync(ca));
    expect(shown.text).toContain(fingerprint256.replaceAll(':', '').toLowerCase());
    // Nor by a browser, where the bundle brings another.
    const brought = await host.look(
      (dir) => copyFileSync(join(other, 'ca.pem'), join(dir, 'trust/ca.pem')),
      [],
    );
    expect([brought.code, brought.shown.verdict]).toEqual([1, 'done faulty']);
    expect(brought.shown.text).toContain('they do not lead to the CA that is pinned');
  });

  it('is believed no receipt of a key that its keys revoke, whatever certificate it brings, by csc and by a browser', async () => {
    const entry = { keyId: 'lost', publicKey: signer.publicKey, owner: host.owner, revokedAt: new Date() };
    const { code, shown } = await host.look(
      (dir) => {
        writeFileSync(join(dir, 'trust/keys.json'), toKeyRingJson([entry]));
        relist(dir);
      },
      ['--fleet-ca', ca, '--keys', scratchFile('lost.json', toKeyRingJson([entry]))],
    );
    expect([code, shown.verdict]).toEqual([1, 'done faulty']);
    expect(shown.text).toMatch(/0 receipts verify[\s\S]*revoked/);
  });

  function scratchFile(name: string, text: string): string {
    const path = join(scratch, name);
    writeFileSync(path, text);
    return path;
  }

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

describe('the page of an audit bundle', () => {
  it('says where its page is another than csc makes of it, or is not there', async () => {
    const dir = host.copy();
    const page = join(dir, 'index.html');
    const verify = ['audit', 'verify-bundle', dir, '--fleet-ca', ca];
    const said = async () => {
      const { code, stdout } = await csc([...verify, '--json']);
      const { page: is, faults } = JSON.parse(stdout) as { page: string; faults: { kind: string }[] };
      return [code, is, faults.map(({ kind }) => kind)];
    };
    expect(await said()).toEqual([0, 'own', []]);
    writeFileSync(page, readFileSync(page, 'utf8').replace('<title>', '<title>All is well: '));
    expect(await said()).toEqual([1, 'other', ['page']]);
    // Another version makes another page, which is no fault, and is said.
    changeManifest(dir, { software: 'csc 0.0.1' });
    expect(await said()).toEqual([0, 'other', []]);
    expect((await csc(verify)).stdout).toMatch(/^VALID\n[\s\S]*index.html IS NOT the page/);
    rmSync(page);
    expect((await csc(verify)).stdout).toMatch(/^VALID\n[\s\S]*index.html is not there/);
    await csc([...verify, '--page', page]);
    expect(await said()).toEqual([0, 'own', []]);
  });

  it('of thousands of files lets a browser live, which shows a thousand of them at a time', async () => {
    const dir = host.copy();
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
    const page = await host.newPage();
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
    const shown = await host.show(html);
    expect([shown.verdict, shown.elements]).toEqual(['done faulty', 0]);
    expect(shown.text).toContain('NOT VERIFIED: this bundle has more than the 1000 bytes that a page holds');
  });

  it('shows hostile text as text: it neither runs, nor asks, nor turns', async () => {
    const hostile = '</script><img src=x onerror=alert(1)>\u202e<!--<script>alert(2)</script>';
    const { shown } = await host.look((dir, [, second = '', , last = '']) => {
      const [directory, name] = [dirname(last), basename(last)];
      expect(name).toBe(receiptFile(4));
      writeFileSync(
        last,
        forgeReceipt(directory, 4, signer, { error: hostile, principal: hostile, ...certificatesOf(last) }),
      );
      writeFileSync(join(dir, 'audit.jsonl'), `${JSON.stringify({ time: 1, status_detail: hostile })}\n`);
      writeFileSync(join(dirname(second), '<img src=x onerror=alert(3)>.json'), hostile);
    });
    expect(shown.text).toContain('</script><img src=x onerror=alert(1)>\\u202e<!--<script>alert(2)</script>');
    expect(shown.text).not.toContain('\u202e');
    expect([shown.asked.length, shown.elements]).toEqual([1, 2]);
  });
});
