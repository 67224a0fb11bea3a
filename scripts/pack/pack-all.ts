// Packs every package into a folder, as `npm pack` in each would, with each built once: `node scripts/pack/pack-all.ts
// [DIR]`, by default out/packages. Nothing below packages/ changes meanwhile.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { makeStage, packageNames } from './manifest.ts';
import { stagePackage } from './stage-package.ts';

const target = resolve(process.argv[2] ?? 'out/packages');
mkdirSync(target, { recursive: true });
const root = makeStage();
try {
  const names = packageNames();
  for (const name of names) stagePackage(name, root);
  const folders = names.map((name) => `./${name}`);
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', target, ...folders], {
    cwd: root,
    stdio: ['ignore', 1, 2],
  });
} finally {
  rmSync(root, { recursive: true });
}
