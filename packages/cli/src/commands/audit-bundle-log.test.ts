import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifyBundle } from '@csc-fleet/common/audit-bundle';
import { createKeyRing, createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { cosignText, formatSignatureLine, formatVkey, toLogTrust } from '@csc-fleet/common/tlog';
import {
  BundleOfHost,
  changeManifest,
  LogOfBundle,
  receiptFiles,
  relist,
} from '@csc-fleet/test-kit/cli/audit-bundle';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBundle } from '../evidence/bundle.ts';

const host = new BundleOfHost();
const { ca, owner, scratch, signer } = host;

beforeAll(() => host.open());

afterAll(() => host.close());

const log = new LogOfBundle();

describe('an audit bundle', () => {
  it('is held against the log that is in it, by csc and by a browser', async () => {
    const { faults, shown } = await host.look((dir, receipts) => {
      log.addTo(dir, receipts, owner);
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
    writeFileSync(ofLog, log.vkey);
    writeFileSync(ofW, ofWitness);
    let endedAt = 0;
    const judge = (offMs: number) =>
      host.look(
        (dir, receipts) => {
          log.addTo(dir, receipts, owner);
          const path = join(dir, 'log/checkpoint');
          const note = readFileSync(path, 'utf8');
          const ended = receipts.map((it) => Date.parse(JSON.parse(readFileSync(it, 'utf8')).ended_at));
          endedAt = Math.max(...ended);
          const text = `${note.split('\n\n')[0]}\n`;
          const seconds = Math.floor((endedAt + offMs) / 1000);
          writeFileSync(path, note + formatSignatureLine(cosignText(text, 'w.example', witness, seconds)));
          relist(dir);
        },
        ['--fleet-ca', ca, '--log-vkey', ofLog, '--witness-vkey', ofW],
      );
    for (const offMs of [0, -86_400_000]) expect((await judge(offMs)).faults).toEqual([]);
    for (const offMs of [-86_702_000, 3_600_000]) {
      const { kinds, faults } = await judge(offMs);
      expect(kinds).toEqual(new Set(['log']));
      expect(faults[0]?.message).toMatch(/1 are due: w.example did at 20\S+Z, and what counts is from/);
    }
    // As it is looked at in ten years.
    const dir = host.copy();
    log.addTo(dir, receiptFiles(dir), owner);
    const path = join(dir, 'log/checkpoint');
    const note = readFileSync(path, 'utf8');
    const line = cosignText(`${note.split('\n\n')[0]}\n`, 'w.example', witness, Math.floor(endedAt / 1000));
    writeFileSync(path, note + formatSignatureLine(line));
    relist(dir);
    const ring = createKeyRing([{ ...signer, owner }]);
    const verified = await verifyBundle(readBundle(dir), () => ring, {
      logTrust: toLogTrust({ vkey: log.vkey, witnessVkeys: [ofWitness], quorum: 1 }),
      now: new Date(Date.now() + 10 * 365 * 86_400_000),
    });
    expect(verified.log).toMatchObject({ cosigners: 1, included: 4 });
  });

  it.each<[string, string[], (dir: string, receipts: string[]) => void]>([
    [
      'without the last of a chain, made anew with the keys of its gate',
      ['missing'],
      (dir, receipts) => {
        log.addTo(dir, receipts, owner);
        rmSync(receipts.at(-1) ?? '');
      },
    ],
    [
      'with a log that another has signed',
      ['log'],
      (dir, receipts) => log.addTo(dir, receipts, owner, createSigner(generateKeyPair().seed, 'log.example')),
    ],
    [
      'with a receipt that is not in its log',
      ['log'],
      (dir, receipts) => {
        log.addTo(dir, receipts.slice(0, 3), owner);
        const later = { made_at: '2099-01-01T00:00:00.000Z', asked: { since: '2001-01-01T00:00:00.000Z' } };
        changeManifest(dir, later);
      },
    ],
    [
      'with a receipt that is not in its log, and is dated ahead of when it was made',
      ['ahead'],
      (dir, receipts) => {
        log.addTo(dir, receipts.slice(0, 3), owner);
        changeManifest(dir, { made_at: '2001-01-01T00:00:00.000Z' });
      },
    ],
    [
      'that was asked for without a beginning, with a receipt that is not in the end of its log',
      ['log'],
      (dir, receipts) => {
        log.addTo(dir, receipts.slice(0, 3), owner);
        const row = { metadata: { sequence: 301 }, time: Date.parse('2001-01-01T00:00:00.000Z') };
        writeFileSync(join(dir, 'audit.jsonl'), `${JSON.stringify(row)}\n`);
        changeManifest(dir, { made_at: '2099-01-01T00:00:00.000Z', asked: {} });
      },
    ],
    [
      'with another entry in its log than the checkpoint has',
      ['log'],
      (dir, receipts) => {
        log.addTo(dir, receipts, owner);
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
    } = await host.look((dir, receipts) => {
      change(dir, receipts);
      relist(dir);
    });
    expect([code, [...found]]).toEqual([1, kinds]);
    expect(shown.verdict).toBe('done faulty');
    for (const kind of kinds) expect(shown.text).toContain(`${kind}: `);
    expect(shown.text).toContain('1 faults: this bundle does not hold');
  });
});
