import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultKeyId, generateKeyPair } from '@csc-fleet/common/crypto';
import { makeTemporaryDirectory } from '@csc-fleet/common/files';
import { addFile, signStaged } from '@csc-fleet/common/policy-repository';
import { resolveJobUsers } from '@csc-fleet/sandbox/host';
import { logIn } from '../connect/submitter.ts';
import { localSigners, makeLocalRepository, publish } from '../owners/repository-keys.ts';
import { bindingsFor } from '../owners/submitters.ts';
import { demoPolicies, demoPrincipal, demoProfiles } from './material.ts';

/** A key pair of the demo, in files. */
export interface StageKey {
  readonly keyId: string;
  readonly publicKeyFile: string;
}

/** The demo's scratch directory with everything in it that a gate and an executor need. */
export interface Stage extends Disposable {
  readonly directory: string;
  /** What jobs work on; theirs to write. */
  readonly workspace: string;
  readonly gateConfig: string;
  readonly gateKey: StageKey;
  readonly hostKey: StageKey;
  /** Writes the executor's config, once the gate's address is known. */
  writeExecutorConfig(gateAddress: string, mode: 'hardened' | 'local'): string;
  write(name: string, content: string): string;
}

const gateName = 'demo-gate';
const hostName = 'demo-host';

/** Makes a fresh one. Whoever disposes it removes all of it. */
export async function setStage(): Promise<Stage> {
  const directory = makeTemporaryDirectory('csc-demo-');
  // Jobs of a root executor are another user: they must get through to the workspace, and nowhere else.
  chmodSync(directory, 0o711);
  const write = (name: string, content: string): string => {
    const path = join(directory, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const workspace = makeWorkspace(directory);
  const { createDevelopmentPki } = await import('@csc-fleet/common/pki');
  await createDevelopmentPki(join(directory, 'pki'), { clients: ['alice'], executors: [hostName] });
  const gateKey = makeKey(gateName, write);
  const hostKey = makeKey(hostName, write);
  await publishPolicies(directory, workspace);
  return {
    directory,
    workspace,
    gateConfig: write('gate.yaml', toYaml(gateConfig(directory))),
    gateKey,
    hostKey,
    writeExecutorConfig: (gateAddress, mode) =>
      write('executor.yaml', toYaml(executorConfig(directory, gateAddress, mode))),
    write,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

// As csc policy init --local does it: gate and host take from here whatever they decide by, alice's key included.
async function publishPolicies(directory: string, workspace: string): Promise<void> {
  const repository = join(directory, 'policy-repository');
  makeLocalRepository(repository);
  for (const [name, policy] of Object.entries(demoPolicies(workspace)))
    addFile(repository, `policies/${name}.yaml`, Buffer.from(toYaml(policy)));
  const { signer } = await logIn(demoPrincipal, { XDG_CONFIG_HOME: join(directory, 'config') });
  addFile(repository, 'bindings.yaml', bindingsFor({ ...signer, principal: demoPrincipal }, demoProfiles));
  for (const owner of localSigners(repository)) signStaged(repository, owner, new Date());
  publish(repository, () => {});
}

// JSON is YAML.
function toYaml(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function makeWorkspace(directory: string): string {
  const workspace = join(directory, 'workspace');
  const files = {
    'README.md': '# A program\n\nTODO: say what it does\n',
    'src/main.c': '/* TODO: everything */\nint main(void) { return 0; }\n',
  };
  for (const folder of ['', 'src', 'out']) own(join(workspace, folder), (path) => mkdirSync(path));
  for (const [name, text] of Object.entries(files)) {
    own(join(workspace, name), (path) => writeFileSync(path, text));
  }
  return workspace;
}

// A root executor's jobs run as an account of their own.
function own(path: string, make: (path: string) => void): void {
  make(path);
  const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1];
  if (uid !== 0) return;
  const [user] = resolveJobUsers(undefined, { uid, gid }).all;
  chownSync(path, user.uid, user.gid);
}

function makeKey(name: string, write: Stage['write']): StageKey {
  const pair = generateKeyPair();
  write(`${name}.key`, pair.privatePem);
  return { keyId: defaultKeyId(name, pair.publicKey), publicKeyFile: write(`${name}.pub`, pair.publicPem) };
}

function gateConfig(directory: string): object {
  return {
    gate_id: gateName,
    listen: '127.0.0.1:0',
    data_dir: join(directory, 'gate'),
    tls: { ca: 'pki/ca.pem', cert: 'pki/gate.pem', key: 'pki/gate.key' },
    policy_repository: { directory: 'policy-repository', root: 'policy-repository/root.json' },
    signing_key: `${gateName}.key`,
    accept_unsigned_approvals: true,
  };
}

function executorConfig(directory: string, address: string, mode: 'hardened' | 'local'): object {
  return {
    gate: { address },
    tls: { ca: 'pki/ca.pem', cert: `pki/executor-${hostName}.pem`, key: `pki/executor-${hostName}.key` },
    trusted_gate_keys: 'gate/gate-keys.json',
    policy_repository: { root: 'policy-repository/root.json', from: 'gate' },
    state_dir: join(directory, 'executor'),
    signing_key: `${hostName}.key`,
    labels: { os: process.platform, demo: 'yes' },
    slots: 2,
    run_as: 'auto',
    accept_unsigned_approvals: true,
    execution_mode: mode,
  };
}
