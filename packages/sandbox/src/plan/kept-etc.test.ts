import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostFiles } from './etc-files.ts';
import type { EtcView } from './gather-etc.ts';
import { gatherEtc } from './gather-etc.ts';
import { recallEtc } from './kept-etc.ts';

let tree: TestTree;
let kept: TestTree;
beforeEach(() => {
  tree = makeTree();
  kept = makeTree();
  chmodSync(kept.path, 0o700);
});
afterEach(() => {
  tree.remove();
  kept.remove();
});

const at = (path: string): string => join(tree.path, path);
const file = (): string => join(kept.path, 'etc.bin');
const recall = (): EtcView => recallEtc(['/usr'], kept.path, tree.path);
const gather = (): EtcView => gatherEtc(['/usr'], new HostFiles(tree.path));

/** A host's /etc with one of each, older than a tick of the kernel's clock. */
async function setUp(): Promise<void> {
  tree.file('etc/services', 'ssh 22/tcp\n');
  tree.file('etc/java-17/security/java.security', 'all');
  tree.file('etc/maven/settings.xml', '<settings/>');
  tree.file('etc/gitconfig', '[init]\n\tdefaultBranch = main\n');
  tree.file('etc/ssl/certs/own.pem', 'own');
  tree.file('usr/share/zoneinfo/UTC', 'utc');
  tree.file('srv/magic', 'magic');
  symlinkSync('/usr/share/zoneinfo/UTC', at('etc/localtime'));
  symlinkSync('/srv/magic', at('etc/magic'));
  symlinkSync('own.pem', at('etc/ssl/certs/hash.0'));
  symlinkSync('java.security', at('etc/java-17/security/link'));
  // To the second, as Date says no more of it.
  utimesSync(at('etc/services'), 1, 1);
  await sleep(25);
}

// Says something else, so that whoever takes it from there is seen.
function lie(): void {
  writeFileSync(file(), readFileSync(file(), 'latin1').replace('ssh 22', 'ssh 66'), 'latin1');
}
const services = (view: EtcView): string | undefined => view.files.get('services')?.toString();

describe('recallEtc', () => {
  it('gives what gatherEtc does, and from what is kept the second time', async () => {
    await setUp();
    const first = recall();
    expect(first).toEqual(gather());
    expect(recall()).toEqual(first);
    lie();
    expect(services(recall())).toBe('ssh 66/tcp\n');
  });

  const changes: Readonly<Record<string, () => void>> = {
    'a file written in the same size, its mtime set back': () => {
      writeFileSync(at('etc/services'), 'ssh 23/tcp\n');
      utimesSync(at('etc/services'), 1, 1);
    },
    'a file that is not for everybody any more': () => chmodSync(at('etc/services'), 0o600),
    'a directory that is not for everybody any more': () => chmodSync(at('etc/java-17/security'), 0o700),
    'a password': () => writeFileSync(at('etc/maven/settings.xml'), '<password>s3cret</password>'),
    'a password in gitconfig': () => writeFileSync(at('etc/gitconfig'), '[credential]\n'),
    'a file that is gone': () => rmSync(at('etc/services')),
    'a file that was not there': () => tree.file('etc/protocols', 'tcp 6'),
    'a directory that was not there': () => tree.file('etc/fonts/fonts.conf', 'x'),
    'a name that a pattern takes in': () => tree.file('etc/java-21/java.security', 'x'),
    'a new file in a directory': () => tree.file('etc/java-17/security/more', 'x'),
    'a new file below a mounted directory that leads out of it': () =>
      symlinkSync('/srv/magic', at('etc/ssl/certs/out.pem')),
    'a link that leads elsewhere': () => {
      rmSync(at('etc/localtime'));
      symlinkSync('/srv/magic', at('etc/localtime'));
    },
    'what a link leads to': () => writeFileSync(at('srv/magic'), 'other'),
    'a directory above what a link leads to': () => {
      renameSync(at('srv'), at('srv.old'));
      mkdirSync(at('srv'));
    },
    'a link beside its file': () => {
      rmSync(at('etc/java-17/security/link'));
      symlinkSync('/srv/magic', at('etc/java-17/security/link'));
    },
  };
  it.each(Object.entries(changes))('finds it out anew after %s', async (_name, change) => {
    await setUp();
    const before = recall();
    lie();
    change();
    const now = recall();
    expect(now).toEqual(gather());
    expect(now).not.toEqual(before);
  });

  it('keeps nothing of what changed a moment ago: a change within the same tick would not show', async () => {
    await setUp();
    writeFileSync(at('etc/services'), 'ssh 23/tcp\n');
    expect(services(recall())).toBe('ssh 23/tcp\n');
    expect(statSync(file(), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('takes nothing that is cut off, of other rules, or that others may change', async () => {
    await setUp();
    recall();
    const good = readFileSync(file());
    const attacks: readonly (() => void)[] = [
      () => writeFileSync(file(), readFileSync(file()).subarray(0, -1)),
      () =>
        writeFileSync(
          file(),
          readFileSync(file(), 'latin1').replace('/etc/services', '/etc/Services'),
          'latin1',
        ),
      () => writeFileSync(file(), 'null\n'),
      () => chmodSync(file(), 0o666),
      () => chmodSync(kept.path, 0o777),
    ];
    for (const attack of attacks) {
      writeFileSync(file(), good);
      lie();
      expect(services(recall())).toBe('ssh 66/tcp\n');
      attack();
      expect(recall()).toEqual(gather());
      rmSync(file());
      chmodSync(kept.path, 0o700);
      recall();
    }
  });

  it('removes what others were killed over as they kept it', async () => {
    await setUp();
    const left = kept.file('etc.bin.0123456789ab.partial', 'etc');
    utimesSync(left, 1, 1);
    recall();
    expect(readdirSync(kept.path)).toEqual(['etc.bin']);
  });

  it('works where nothing can be kept', async () => {
    await setUp();
    expect(recallEtc(['/usr'], '/proc/nowhere/csc', tree.path)).toEqual(gather());
  });
});
