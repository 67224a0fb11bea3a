// npm runs this in a package's folder before it packs it: lays lib beside the sources, and puts the package.json that
// is shipped in the place of ours until postpack.
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { makeStage } from './manifest.ts';
import { stagePackage } from './stage-package.ts';

const name = basename(process.cwd());
const kept = 'package.json.kept';
// A pack that was cut off has left ours there.
if (existsSync(kept)) renameSync(kept, 'package.json');
const root = makeStage();
try {
  stagePackage(name, root);
  renameSync('package.json', kept);
  for (const it of ['lib', 'package.json', 'LICENSE']) cpSync(join(root, name, it), it, { recursive: true });
} finally {
  rmSync(root, { recursive: true });
}
