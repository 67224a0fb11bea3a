import { describe, expect, it } from 'vitest';
import { createSigner, generateKeyPair } from '../crypto/index.ts';
import { orThrow } from '../errors/index.ts';
import {
  checkpointText,
  cosignText,
  formatAddCheckpoint,
  formatBundle,
  formatEntry,
  formatNote,
  formatVkey,
  keyIdOf,
  leafHash,
  type NodeReader,
  nodeHash,
  nodesOf,
  openCheckpoint,
  parseAddCheckpoint,
  parseBundle,
  parseCheckpoint,
  parseEntry,
  parseNote,
  parseTilePath,
  parseVkey,
  proveConsistency,
  proveInclusion,
  rootOf,
  signCheckpoint,
  signText,
  type Tile,
  TreeEdge,
  type TreeHead,
  tilePath,
  tileWidth,
  verifyConsistency,
  verifyInclusion,
  vouchersOf,
  widthIn,
} from './index.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

// Of Certificate Transparency's reference implementation (merkletree/merkle_tree_test): eight leaves, and the root after each.
const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map(hex);
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(hex);

/** A tree as RFC 6962 §2.1 writes it down, without any of what is clever here. */
function naiveRoot(hashes: readonly Uint8Array[]): Uint8Array {
  const [only] = hashes;
  if (hashes.length === 1 && only !== undefined) return only;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  return nodeHash(naiveRoot(hashes.slice(0, split)), naiveRoot(hashes.slice(split)));
}

function naiveNodes(hashes: readonly Uint8Array[]): NodeReader {
  return async (height, index) => naiveRoot(hashes.slice(index * 2 ** height, (index + 1) * 2 ** height));
}

const toPlain = ({ size, root }: TreeHead) => ({ size, root: Buffer.from(root) });

/** All tiles of a tree that grows, by path. */
function growing() {
  const edge = new TreeEdge();
  const tiles = new Map<string, Uint8Array>();
  const read = async (tile: Tile): Promise<Uint8Array> => {
    const found = tiles.get(tilePath(tile)) ?? tiles.get(tilePath({ ...tile, width: tileWidth }));
    if (found === undefined) throw new Error(`no ${tilePath(tile)}`);
    return found;
  };
  const add = (entry: Uint8Array): void => {
    for (const { tile, bytes } of [...edge.add(leafHash(entry)), ...edge.partial()])
      tiles.set(tilePath(tile), bytes);
  };
  return { edge, add, read };
}

describe('a tree', () => {
  it('has the roots of the reference trees, and proofs between all of them', async () => {
    const hashes = leaves.map(leafHash);
    const node = naiveNodes(hashes);
    const heads = roots.map((root, index) => ({ size: index + 1, root }));
    for (const head of heads) {
      expect(await rootOf(node, head.size)).toEqual(head.root);
      for (const [index, hash] of hashes.slice(0, head.size).entries())
        verifyInclusion(head, index, hash, await proveInclusion(node, index, head.size));
      for (const before of heads.slice(0, head.size))
        verifyConsistency(before, head, await proveConsistency(node, before.size, head.size));
    }
    // The proofs that the reference has, too.
    expect((await proveConsistency(node, 6, 8)).map((it) => Buffer.from(it).toString('hex'))).toEqual([
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
    expect(await proveInclusion(node, 2, 3)).toEqual([roots[1]]);
  });

  it('takes no proof that is of another leaf, tree or length', async () => {
    const hashes = leaves.map(leafHash);
    const node = naiveNodes(hashes);
    const head = (size: number) => ({ size, root: roots[size - 1] ?? Buffer.alloc(0) });
    for (let size = 2; size <= 8; size += 1) {
      for (let index = 0; index < size; index += 1) {
        const proof = await proveInclusion(node, index, size);
        const own = hashes[index] ?? Buffer.alloc(0);
        const tries: (() => void)[] = [
          () => verifyInclusion(head(size), (index + 1) % size, own, proof),
          () => verifyInclusion(head(size), index, hashes[(index + 1) % size] ?? own, proof),
          () => verifyInclusion(head(size), index, own, proof.slice(1)),
          () => verifyInclusion(head(size), index, own, [...proof, own]),
          () => verifyInclusion(head(size), size, own, proof),
          () => verifyInclusion(head(size), -1, own, proof),
          () =>
            verifyInclusion(
              head(size),
              index,
              own,
              proof.map((it) => it.subarray(1)),
            ),
        ];
        for (const attempt of tries)
          expect(attempt).toThrow(expect.objectContaining({ code: 'LOG_INVALID' }));
      }
      for (let before = 1; before < size; before += 1) {
        const proof = await proveConsistency(node, before, size);
        const other = { size: before, root: leafHash(Buffer.from('another')) };
        const tries: (() => void)[] = [
          () => verifyConsistency(other, head(size), proof),
          () => verifyConsistency(head(before), { ...head(size), root: other.root }, proof),
          () => verifyConsistency(head(before), head(size), proof.slice(1)),
          () => verifyConsistency(head(before), head(size), [...proof, other.root]),
          () => verifyConsistency(head(size), head(before), proof),
        ];
        for (const attempt of tries)
          expect(attempt).toThrow(expect.objectContaining({ code: 'LOG_INVALID' }));
      }
    }
    expect(() => verifyConsistency(head(8), { size: 8, root: head(7).root }, [])).toThrow(
      /not the same ones/,
    );
  });

  it('is the same out of tiles as out of its leaves, at every size', async () => {
    const { edge, add, read } = growing();
    const hashes: Uint8Array[] = [];
    for (let size = 1; size <= 530; size += 1) {
      const entry = Buffer.from(`entry ${size}`);
      add(entry);
      hashes.push(leafHash(entry));
      // Beside the ends of tiles, some of all the rest.
      if (size % 256 > 2 && size % 256 < 254 && size % 83 !== 0) continue;
      const root = Buffer.from(naiveRoot(hashes));
      const head = { size, root };
      expect(toPlain(edge.head())).toEqual(head);
      const node = nodesOf(read, size);
      expect(Buffer.from(await rootOf(node, size))).toEqual(root);
      const index = (size * 7919) % size || size - 1;
      verifyInclusion(head, index, hashes[index] ?? root, await proveInclusion(node, index, size));
      const before = 1 + ((size * 31) % size);
      const earlier = { size: before, root: naiveRoot(hashes.slice(0, before)) };
      verifyConsistency(earlier, head, await proveConsistency(node, before, size));
      const again = await TreeEdge.restore(size, read);
      expect(toPlain(again.head())).toEqual(head);
      expect(
        again
          .copy()
          .partial()
          .map(({ tile }) => tile),
      ).toEqual(edge.partial().map(({ tile }) => tile));
    }
  });

  it('has the tiles that the document counts for 70,000 leaves', () => {
    const widths = (level: number, indexes: readonly number[]) =>
      indexes.map((it) => widthIn(70_000, level, it));
    expect(widths(0, [0, 272, 273, 274])).toEqual([256, 256, 112, 0]);
    expect(widths(1, [0, 1, 2])).toEqual([256, 17, 0]);
    expect(widths(2, [0, 1])).toEqual([1, 0]);
    expect(widths(3, [0])).toEqual([0]);
    expect([widthIn(256, 0, 0), widthIn(256, 1, 0), widthIn(256, 'entries', 0)]).toEqual([256, 1, 256]);
  });

  it('calls tiles by the one path that the document has', () => {
    const path = (tile: Tile): string => tilePath(tile);
    expect(path({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(path({ level: 'entries', index: 5, width: 8 })).toBe('tile/entries/005.p/8');
    for (const tile of [
      { level: 0, index: 0, width: 256 },
      { level: 63, index: 1_234_067, width: 1 },
      { level: 'entries' as const, index: 999_999, width: 255 },
    ])
      expect(parseTilePath(tilePath(tile))).toEqual({ ok: true, value: tile });
    for (const bad of [
      ...['tile/64/000', 'tile/00/000', 'tile/0/0', 'tile/0/x000/001', 'tile/0/001/002', 'tile/0/000.p/256'],
      ...[
        'tile/0/000.p/0',
        'tile/0/000.p/01',
        'tile/0/000/',
        '/tile/0/000',
        'tile/0/../../log.key',
        'tile/0/000\n',
      ],
      ...['tile/x/000', `tile/0/${'x001/'.repeat(5)}001`],
    ])
      expect(parseTilePath(bad).ok, bad).toBe(false);
  });

  it('has bundles of entries behind their lengths', () => {
    const bundle = formatBundle(leaves);
    expect(bundle.subarray(0, 7)).toEqual(hex('00000001000001'));
    expect(parseBundle(bundle, 8)).toEqual({ ok: true, value: leaves });
    expect(parseBundle(bundle, 3)).toEqual({ ok: true, value: leaves.slice(0, 3) });
    expect(parseBundle(bundle, 9).ok).toBe(false);
    expect(parseBundle(bundle.subarray(0, -1), 8).ok).toBe(false);
  });
});

// golang.org/x/mod/sumdb/note.
const peter = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const peterSeed = 'AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const peterText =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const peterNote = `${peterText}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

// A checkpoint of a public log, cosigned by public witnesses; some of its signatures are of types that are not known here.
const arche = 'arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f';
const remora = 'remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2';
const archeCheckpoint = `arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
`;

const vkey = (text: string) => orThrow(parseVkey(text), 'LOG_INVALID', text);

describe('a note', () => {
  it('is signed, and its key named, as Go’s sumdb and the document have it', () => {
    const key = vkey(peter);
    expect(formatVkey(key)).toBe(peter);
    expect(keyIdOf(key)).toBe(0xc74f20a3);
    const note = orThrow(parseNote(Buffer.from(peterNote)), 'LOG_INVALID', 'the note');
    expect(vouchersOf(note, [key])).toEqual([{ key, seconds: undefined }]);
    const signer = createSigner(Buffer.from(peterSeed, 'base64').subarray(1), 'PeterNeumann');
    expect(formatNote({ text: peterText, signatures: [signText(peterText, 'PeterNeumann', signer)] })).toBe(
      peterNote,
    );
    const example = vkey('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k');
    const line =
      '— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=';
    const said = orThrow(
      parseNote(Buffer.from(`This is an example message.\n\n${line}\n`)),
      'LOG_INVALID',
      'it',
    );
    expect(vouchersOf(said, [example])).toHaveLength(1);
  });

  it('is a checkpoint that its log has signed, and witnesses with their time', () => {
    const bytes = Buffer.from(archeCheckpoint);
    const opened = openCheckpoint(bytes, { log: vkey(arche), witnesses: [vkey(remora)], quorum: 1 });
    expect(opened.checkpoint).toMatchObject({ origin: vkey(arche).name, size: 1_432_088_532 });
    expect(opened.cosigned.map(({ seconds }) => seconds)).toEqual([0x6a122120n]);
    expect(checkpointText(opened.checkpoint)).toBe(`${archeCheckpoint.split('\n\n')[0]}\n`);
    const larger = Buffer.from(archeCheckpoint.replace('\n1432088532\n', '\n1432088533\n'));
    expect(() => openCheckpoint(larger, { log: vkey(arche) })).toThrow(/does not verify/);
    expect(() => openCheckpoint(bytes, { log: vkey(peter) })).toThrow(/is of the log/);
    const unknown = { ...vkey(remora), name: 'another.example' };
    expect(() => openCheckpoint(bytes, { log: vkey(arche), witnesses: [unknown], quorum: 1 })).toThrow(
      /cosigned by 0 of the witnesses, and 1 are due/,
    );
    // A witness's key that signs as a log does is no witness, and the other way round.
    const borrowed = { ...vkey(remora), type: 'ed25519' as const };
    expect(vouchersOf(opened.note, [borrowed])).toEqual([]);
  });

  it('counts no witness twice, and no signature for another text or time', () => {
    const { seed } = generateKeyPair();
    const signer = createSigner(seed, 'w');
    const key = { name: 'w.example', type: 'cosignature' as const, publicKey: signer.publicKey };
    const text = `log.example\n1\n${Buffer.alloc(32).toString('base64')}\n`;
    const line = cosignText(text, 'w.example', signer, 1_700_000_000);
    const later = cosignText(text, 'w.example', signer, 1_700_000_001);
    expect(vouchersOf({ text, signatures: [line, later] }, [key])).toHaveLength(1);
    expect(() => vouchersOf({ text: text.replace('1', '2'), signatures: [line] }, [key])).toThrow(
      /does not verify/,
    );
    const moved = {
      ...line,
      signature: Buffer.concat([later.signature.subarray(0, 8), line.signature.subarray(8)]),
    };
    expect(() => vouchersOf({ text, signatures: [moved] }, [key])).toThrow(/does not verify/);
    const bare = { ...line, signature: line.signature.subarray(8) };
    expect(() => vouchersOf({ text, signatures: [bare] }, [key])).toThrow(/does not verify/);
  });

  it('is refused in every form but one', () => {
    for (const bad of [
      ...[
        peterText,
        `${peterText}\n`,
        peterNote.slice(0, -1),
        peterNote.replace('— ', '- '),
        peterNote.replace('— ', '—'),
      ],
      ...[peterNote.replace('then', 'th\ten'), peterNote.replace('PeterNeumann x', 'Peter+Neumann x')],
      ...[
        peterNote.replace('nAM=', 'nAM'),
        peterNote.replace('nAM=', 'nAN='),
        `${peterNote}\n`,
        `${peterNote} \n`,
      ],
      ...[`${peterText}\n— PeterNeumann x08g\n`, `${peterNote}${'— a AAAAAAA=\n'.repeat(64)}`, ''],
    ])
      expect(parseNote(Buffer.from(bad)).ok, bad).toBe(false);
    expect(parseNote(Buffer.concat([Buffer.from([0xff]), Buffer.from(peterNote)])).ok).toBe(false);
    expect(parseNote(Buffer.alloc(64 * 1024 + 1, 'a')).ok).toBe(false);
    const good = `log.example\n7\n${Buffer.alloc(32, 1).toString('base64')}\n`;
    const sealed = (text: string) => Buffer.from(`${text}\n${peterNote.split('\n\n')[1]}`);
    expect(parseCheckpoint(sealed(good)).ok).toBe(true);
    expect(parseCheckpoint(sealed(`${good}an extension\n`)).ok).toBe(true);
    for (const bad of [
      ...[
        good.replace('\n7\n', '\n07\n'),
        good.replace('\n7\n', '\n-7\n'),
        good.replace('\n7\n', '\n9007199254740993\n'),
      ],
      ...[
        good.replace('\n7\n', '\n7 \n'),
        good.replace('log.example', ''),
        good.replace('log.example', 'a b'),
      ],
      ...[
        good.replace('AQE=', 'AQ=='),
        good.replace('AQE=', 'AQF='),
        'log.example\n7\n',
        good.replace('\n7\n', '\n\n7\n'),
      ],
    ])
      expect(parseCheckpoint(sealed(bad)).ok, bad).toBe(false);
    for (const bad of [
      ...[
        peter.slice(1),
        peter.slice(0, -1),
        peter.replace('c74f20a3', 'c74f20a4'),
        peter.replace('+ARpc', '+BRpc'),
      ],
      ...[
        peter.replace('c74f20a3', 'C74F20A3'),
        `${peter}\n`,
        peter.replace('PeterNeumann', 'Peter Neumann'),
      ],
    ])
      expect(parseVkey(bad).ok, bad).toBe(false);
  });

  it('comes to a witness behind the old size and the proof', () => {
    const signer = createSigner(generateKeyPair().seed, 'log.example');
    const note = signCheckpoint(
      { origin: 'log.example', size: 8, root: roots[7] ?? Buffer.alloc(32) },
      signer,
    );
    const asked = { oldSize: 6, proof: roots.slice(0, 3), checkpoint: Buffer.from(note) };
    const body = formatAddCheckpoint(asked);
    const parsed = orThrow(parseAddCheckpoint(body), 'LOG_INVALID', 'it');
    expect(parsed).toMatchObject({ oldSize: 6 });
    expect(formatAddCheckpoint(parsed)).toEqual(body);
    const text = body.toString();
    for (const bad of [
      ...[
        text.replace('old 6', 'old 06'),
        text.replace('old 6', 'old'),
        text.replace('old 6', 'new 6'),
        'old 6\n',
      ],
      ...[text.replace('old 6\n', `old 6\n${'AAAA\n'.repeat(2)}`)],
      text.replace('old 6\n', `old 6\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(61)}`),
    ])
      expect(parseAddCheckpoint(Buffer.from(bad)).ok).toBe(false);
  });

  it('has an entry for each receipt, in one form alone', () => {
    const entry = {
      entry_version: 'csc.log-entry.v0.1' as const,
      receipt_sha256: 'a'.repeat(64),
      execution_id: 'e-1',
      executor: 'spiffe://csc.local/executor/host',
      executor_epoch: 'b'.repeat(32),
      sequence: 3,
      audit_sequence: 9,
    };
    const bytes = formatEntry(entry);
    expect(parseEntry(bytes)).toEqual({ ok: true, value: entry });
    const text = bytes.toString();
    for (const bad of [
      ...[` ${text}`, text.replace('{', '{ '), text.replace('"sequence":3', '"sequence":0')],
      ...[text.replace('v0.1', 'v0.2'), text.replace('{', '{"a":1,'), '[]', ''],
    ])
      expect(parseEntry(Buffer.from(bad)).ok, bad).toBe(false);
  });
});
