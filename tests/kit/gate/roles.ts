import { agent, other, TestGate } from './test-gate.ts';

export const admin = 'spiffe://csc.local/client/admin';
export const auditor = 'spiffe://csc.local/client/auditor';

/** A gate whose bindings have an admin and an auditor, beside clients that may little. */
export function openWithRoles(): Promise<TestGate> {
  return TestGate.open({
    bindings: {
      bindings: [
        { identity: auditor, policies: ['wide'], roles: ['auditor'] },
        { identity: admin, policies: ['wide'], roles: ['admin'] },
        {
          identity: agent,
          policies: ['default', 'limited'],
          hosts: { tier: 'build' },
          secrets: { default: ['token'] },
        },
        { identity: other, policies: ['default'] },
        { identity: 'spiffe://csc.local/client/nobody', policies: ['default'] },
      ],
    },
  });
}
