import type { Mount, SandboxPlan } from '@csc-fleet/sandbox/plan';

type Spoil = (plan: SandboxPlan) => SandboxPlan;

const withoutNamespace =
  (name: string): Spoil =>
  (plan) => ({ ...plan, namespaces: plan.namespaces.filter((it) => it !== name) });

const withMounts =
  (change: (mounts: readonly Mount[], plan: SandboxPlan) => readonly Mount[]): Spoil =>
  (plan) => ({ ...plan, mounts: change(plan.mounts, plan) });

const host = (path: string, destination = path): Mount => ({ kind: 'host', source: path, destination });

/** Recipes with one thing left out or added each, as one might by mistake. */
export const weakenings = {
  'no-filter': (plan) => ({ ...plan, seccomp: { ...plan.seccomp, programs: 0 } }),
  'host-network': withoutNamespace('net'),
  'host-ipc': withoutNamespace('ipc'),
  'host-cgroups': withoutNamespace('cgroup'),
  'host-name': (plan) => ({ ...plan, hostname: 'build-host-7' }),
  'whole-host': withMounts((mounts) => [host('/', '/host'), ...mounts]),
  'host-etc': withMounts((mounts) =>
    mounts.flatMap((mount) => {
      if (mount.destination === '/etc') return [host('/etc')];
      return mount.destination.startsWith('/etc/') ? [] : [mount];
    }),
  ),
  'host-homes': withMounts((mounts) =>
    mounts.map((mount) => (mount.destination === '/home/user' ? host('/home') : mount)),
  ),
  'whole-workspace': withMounts((mounts, { cwd }) => {
    const [before, after] = [mounts.filter(notScope), mounts.filter((mount) => !notScope(mount))];
    const remounts = before.filter(({ kind }) => kind === 'read_only');
    return [...before.filter((it) => !remounts.includes(it)), host(cwd), ...after, ...remounts];
  }),
  'no-remounts': withMounts((mounts) => mounts.filter(({ kind }) => kind !== 'read_only')),
  'no-masks': withMounts((mounts) => mounts.filter(({ destination }) => !destination.startsWith('/proc/'))),
  'stray-secrets': withMounts((mounts) => [
    { kind: 'directory', destination: '/run/secrets', mode: 0o700 },
    ...mounts,
  ]),
  'more-environment': (plan) => ({
    ...plan,
    environment: { ...plan.environment, HTTPS_PROXY: 'http://proxy.example', AWS_PROFILE: 'production' },
  }),
  'no-limits': (plan) => ({ ...plan, rlimits: {} }),
  'host-root': ({ credentials: _, ...plan }) => ({
    ...plan,
    mounts: plan.mounts.filter(({ kind }) => kind !== 'read_only'),
  }),
  'writable-scopes': withMounts((mounts) =>
    mounts.map((mount) => (mount.kind === 'scope' ? { ...mount, writable: true } : mount)),
  ),
} satisfies Record<string, Spoil>;

const notScope = ({ kind }: Mount): boolean => kind !== 'scope';

export type Weakening = keyof typeof weakenings;

/** The weakening of this name; undefined where there is none. */
export function findWeakening(name: string): Spoil | undefined {
  return Object.hasOwn(weakenings, name) ? weakenings[name as Weakening] : undefined;
}
