// Regenerates the protobuf code into a scratch folder and compares it, byte for byte, with what is checked in;
// then lets the publishers of schemas, errors, metrics and logs check their own files.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generated, generateProtobuf } from './generate-protobuf.ts';

const scratch = mkdtempSync(join(tmpdir(), 'csc-generated-'));
try {
  generateProtobuf(scratch);
  const diff = spawnSync('diff', ['-r', '-q', generated, join(scratch, generated)], { encoding: 'utf8' });
  if (diff.status !== 0) {
    process.stderr.write(
      `${diff.stdout}${diff.stderr}The generated code is not current: run make generate.\n`,
    );
    process.exitCode = 1;
  }
  for (const name of ['schemas', 'errors', 'metrics', 'logs', 'proxy', 'page', 'seccomp']) {
    const publisher = `scripts/publish-${name}.ts`;
    const { status } = spawnSync(process.execPath, [publisher, '--check'], { stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
