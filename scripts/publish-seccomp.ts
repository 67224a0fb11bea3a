// Writes the system call filters of sandboxes and of the egress proxy, as programs, so that nothing assembles them at
// its start. With --check, writes nothing and fails where they differ.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assembleProfile } from '../packages/sandbox/src/seccomp/assemble.ts';
import { noUnixSockets, ourProfile } from '../packages/sandbox/src/seccomp/our-profile.ts';
import { proxyProfile, readerProfile, startedProfile } from '../packages/sandbox/src/seccomp/own-profiles.ts';

const file = join(import.meta.dirname, '../packages/sandbox/src/seccomp/programs.json');
const programs = Object.fromEntries(
  (['x86_64', 'aarch64'] as const).map((architecture) => [
    architecture,
    {
      ours: assembleProfile(ourProfile(), architecture).toString('base64'),
      noUnixSockets: assembleProfile(noUnixSockets, architecture).toString('base64'),
      proxyOnly: assembleProfile(proxyProfile, architecture).toString('base64'),
      started: assembleProfile(startedProfile, architecture).toString('base64'),
      reader: assembleProfile(readerProfile, architecture).toString('base64'),
    },
  ]),
);
const due = `${JSON.stringify(programs, null, 2)}\n`;
if (!process.argv.includes('--check')) writeFileSync(file, due);
else if (readFileSync(file, 'utf8') !== due) {
  process.stderr.write('packages/sandbox/src/seccomp/programs.json is not current: run make generate\n');
  process.exitCode = 1;
}
