import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RunFacts } from '../../../packages/sandbox/src/plan/facts.ts';
import type { RunLimits } from '../../../packages/sandbox/src/plan/limits.ts';
import type { SandboxCommand } from '../../../packages/sandbox/src/plan/plan.ts';
import type { ResolvedScopes } from '../../../packages/sandbox/src/plan/scopes.ts';

/** A host with a merged /usr, for tests of what is pure. */
export function makeFacts(changes: Partial<RunFacts> = {}): RunFacts {
  const { jobUser = { uid: 65534, gid: 65534, name: 'nobody' } } = changes;
  return {
    bwrapPath: '/usr/bin/bwrap',
    bwrapVersion: '0.8.0',
    bwrapOptions: new Set(['args', 'bind-fd']),
    executorUid: 0,
    jobUser,
    jobUsers: { all: [jobUser], pooled: false },
    umask: 0o022,
    systemLinks: [{ path: '/bin', target: 'usr/bin' }],
    systemDirectories: [],
    etc: {
      live: ['/etc/ld.so.cache'],
      links: new Map([['/etc/services', '.host/services']]),
      files: new Map([['services', Buffer.from('https 443/tcp')]]),
      inner: new Map(),
      sha256: 'e'.repeat(64),
    },
    maskedFiles: ['/proc/keys'],
    maskedDirectories: ['/proc/acpi'],
    resolverPaths: ['/etc/resolv.conf'],
    seccomp: {
      programs: [Buffer.from('filter')],
      sha256: 'f'.repeat(64),
      withoutUnixSockets: { programs: [Buffer.from('filter'), Buffer.from('more')], sha256: 'e'.repeat(64) },
      proxy: { programs: [Buffer.from('least')], sha256: 'd'.repeat(64) },
    },
    cgroups: 'cgroup-v1',
    coreBytes: 1,
    kept: [],
    ...changes,
  };
}

/** A command without network and secrets, within the limits that hold by default. */
export function makeCommand(changes: Partial<SandboxCommand> = {}): SandboxCommand {
  return { environment: {}, network: 'deny', limits: testLimits, secrets: [], unixSockets: true, ...changes };
}

// Not the defaults, which depend on the host.
export const testLimits: RunLimits = {
  memory_bytes: 1 << 30,
  processes: 200,
  cpu_millis: 2000,
  open_files: 1024,
  file_bytes: 1 << 30,
  tmp_bytes: 256 << 20,
  write_bytes: 1 << 30,
  write_files: 10_000,
  artifact_bytes: 1 << 30,
  artifact_sec: 60,
};

/** Scopes that hold nothing open. */
export function makeScopes(changes: Partial<ResolvedScopes> = {}): ResolvedScopes {
  return {
    binds: [],
    writes: [],
    directories: [],
    masks: [],
    unlisted: [],
    links: [],
    cwd: '/',
    notes: [],
    fixed: [],
    closed: [],
    hints: [],
    missing: [],
    close: () => undefined,
    ...changes,
  };
}

/** A temporary directory that any user may enter. */
export interface TestTree {
  readonly path: string;
  /** Writes a file, with its directories, and gives its path. */
  file(name: string, content?: string, mode?: number): string;
  /** Makes a directory that belongs to `owner`, the test's own user where it is absent. */
  directory(name: string, owner?: { readonly uid: number; readonly gid: number }): string;
  remove(): void;
}

/** Not below /tmp: a sandbox has one of its own, which is writable. */
export function makeTree(): TestTree {
  const path = mkdtempSync('/var/tmp/csc-test-');
  chmodSync(path, 0o755);
  return {
    path,
    file(name, content = '', mode = 0o644) {
      const file = join(path, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      chmodSync(file, mode);
      return file;
    },
    directory(name, owner) {
      const directory = join(path, name);
      mkdirSync(directory, { recursive: true });
      chmodSync(directory, 0o755);
      if (owner !== undefined) chownSync(directory, owner.uid, owner.gid);
      return directory;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
