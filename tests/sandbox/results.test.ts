import { execFileSync } from 'node:child_process';
import { constants, mkdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { afterAll, beforeAll, describe } from 'vitest';
import { type RunProbe, testProbes } from './run-probe.ts';
import { Stage } from './stage.ts';

// What a job leaves behind for an executor that has more rights than itself: it reads results as root.
let stage: Stage;
let outside: string;
beforeAll(async () => {
  stage = await Stage.visit('results');
  outside = join(stage.fleet.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'file'), 'TREASURE');
}, 60_000);
afterAll(async () => {
  // Node's own removal knows no path that is longer than the kernel takes.
  if (stage !== undefined) execFileSync('rm', ['-rf', '--', join(stage.fleet.workspace, 'hoard')]);
  await stage?.[Symbol.asyncDispose]();
});

const quote = (text: string): string => JSON.stringify(text);

/** A job whose working directory is a new directory that it may write, and the outputs that it promises to leave there. */
async function job(name: string, text: string, promised: readonly string[] = []) {
  const directory = stage.fleet.writable(name);
  const script = stage.script(
    `${basename(name)}.py`,
    `import os, time\nos.chdir(${quote(directory)})\n${text}`,
  );
  const outputs = promised.map((it) => join(directory, it));
  return await stage.run(
    { argv: ['python3', script], read_paths: [script], write_paths: [directory], timeout_sec: 20 },
    { expected_outputs: outputs },
  );
}

const noneIn = ({ artifacts = [] }: ReceiptV02): boolean => artifacts.length === 0;

const artifacts: RunProbe[] = [
  {
    area: 'lifecycle',
    name: 'artifact_link',
    tries:
      'to have a file of the host hashed, through a symlink or a directory symlink at the place of an artifact',
    expects: 'no artifact',
    async attempt() {
      const text = `os.symlink(${quote(join(outside, 'file'))}, "link")\nos.symlink(${quote(outside)}, "door")`;
      const { receipt } = await job('links', text, ['link', 'door/file']);
      return { held: receipt.status === 'success' && noneIn(receipt), seen: receipt.artifacts };
    },
  },
  {
    area: 'lifecycle',
    name: 'artifact_not_a_file',
    tries: 'to block the executor by a FIFO, a socket or a directory at the place of an artifact',
    expects: 'no artifact, and a receipt at once',
    async attempt() {
      const text = `
import socket
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("directory")
open("file", "w").write("x")`;
      const { receipt } = await job('kinds', text, ['fifo', 'socket', 'directory', 'file']);
      const paths = receipt.artifacts?.map(({ path }) => path);
      return { held: paths?.length === 1 && paths[0]?.endsWith('/file') === true, seen: receipt.artifacts };
    },
  },
  {
    area: 'lifecycle',
    name: 'artifact_opened',
    tries: 'to have the executor open a device of the host, by a directory symlink on the way to an artifact',
    expects: 'it is not opened: with some devices, that alone does something',
    async attempt() {
      const fifo = join(outside, 'fifo');
      execFileSync('mkfifo', [fifo]);
      // Opens only when somebody opens the other end.
      let opened = false;
      const waiting = open(fifo, 'w').then(async (handle) => {
        opened = true;
        await handle.close();
      });
      const { receipt } = await job('device', `os.symlink(${quote(outside)}, "door")`, ['door/fifo']);
      const held = !opened;
      const other = await open(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
      await waiting;
      await other.close();
      return { held: held && noneIn(receipt), seen: { opened: !held, artifacts: receipt.artifacts } };
    },
  },
];

/** More than may be written, in pieces that no other limit stops, and then some time to be found out. */
const hoard = (path: string): string => `
with open(${path}, "wb") as file:
    for _ in range(24):
        file.write(os.urandom(1 << 20))
    file.flush()
    HIDE
    time.sleep(SECONDS)
`;

function hoarder(name: string, tries: string, text: string): RunProbe {
  return {
    area: 'resources',
    name,
    tries: `to write more than the limit, ${tries}`,
    expects: 'the command ends, and the receipt says why',
    async attempt() {
      const { receipt, stderr } = await job(`hoard/${name}`, text);
      const { ended, effect_summary: effects } = receipt;
      return { held: ended === 'output_limit', seen: { ended, effects, stderr } };
    },
  };
}

const fill = (path: string, seconds: number, hide = 'pass'): string =>
  hoard(path).replace('SECONDS', String(seconds)).replace('HIDE', hide);

const hoards: RunProbe[] = [
  hoarder('burst', 'and to be gone before anybody looks', fill('"file"', 0)),
  hoarder('strange_name', 'into a file whose name is no text', fill('b"\\xff\\xfe"', 5)),
  hoarder(
    'strange_directory',
    'in a directory whose name is no text',
    `os.mkdir(b"\\xff")\n${fill('b"\\xff/file"', 5)}`,
  ),
  hoarder(
    'deep_directory',
    'so deep that no path leads there',
    `for _ in range(60):\n    os.mkdir("d" * 200)\n    os.chdir("d" * 200)\n${fill('"file"', 5)}`,
  ),
  hoarder(
    'closed_directory',
    'in a directory that it closes',
    `os.mkdir("closed")\n${fill('"closed/file"', 5, 'os.chmod("closed", 0)')}`,
  ),
  hoarder(
    'deleted_file',
    'into a file that it deletes and keeps open',
    fill('"file"', 5, 'os.unlink("file")'),
  ),
];

describe('artifacts', () => testProbes(artifacts, () => stage));
describe('what is written', () => testProbes(hoards, () => stage));
