import type { SandboxPlan } from '@csc-fleet/executor/sandbox/index';

const without =
  (...names: readonly string[]) =>
  (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    namespaces: plan.namespaces.filter((name) => !names.includes(name)),
  });

/** Recipes with one thing left out each, as one might by mistake. */
export const weakenings = {
  'no-filter': (plan: SandboxPlan): SandboxPlan => ({ ...plan, seccomp: { ...plan.seccomp, programs: 0 } }),
  'host-network': without('net'),
  'host-ipc': without('ipc'),
  'host-cgroups': without('cgroup'),
  'whole-host': (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: [{ kind: 'host', source: '/', destination: '/host' }, ...plan.mounts],
  }),
  'host-etc': (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: plan.mounts.flatMap((mount) => {
      if (mount.destination === '/etc')
        return [{ kind: 'host', source: '/etc', destination: '/etc' } as const];
      return mount.destination.startsWith('/etc/') ? [] : [mount];
    }),
  }),
  'no-remounts': (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: plan.mounts.filter(({ kind }) => kind !== 'read_only'),
  }),
  'no-masks': (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: plan.mounts.filter(({ destination }) => !destination.startsWith('/proc/')),
  }),
  'writable-scopes': (plan: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: plan.mounts.map((mount) => (mount.kind === 'scope' ? { ...mount, writable: true } : mount)),
  }),
  'no-limits': (plan: SandboxPlan): SandboxPlan => ({ ...plan, rlimits: {} }),
  'host-root': ({ credentials: _, ...plan }: SandboxPlan): SandboxPlan => ({
    ...plan,
    mounts: plan.mounts.filter(({ kind }) => kind !== 'read_only'),
  }),
} satisfies Record<string, (plan: SandboxPlan) => SandboxPlan>;

export type Weakening = keyof typeof weakenings;
