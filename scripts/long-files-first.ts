import { BaseSequencer, type TestSpecification } from 'vitest/node';

// The files that take longest, longest first: one that begins last has a worker to itself while the other one is idle.
// Vitest knows by itself only where it has run before.
const long = [
  'tests/packages/install',
  'tests/packages/bundle',
  'tests/faults/bad-host',
  // It ends services in order, which is when their compiled code is kept for the next ones.
  'tests/integration/migration',
  'tests/adversarial/hostile-gate',
  'packages/cli/src/commands/submit',
  'tests/integration/rollout',
  'packages/sandbox/src/launch/bwrap-launcher',
  'packages/sandbox/src/launch/executor-process',
  'tests/chaos/full-disk',
  'tests/integration/terminal',
  'packages/cli/src/action/service',
  'tests/sandbox/limits',
  'packages/cli/src/commands/run',
  'tests/adversarial/rogue-gate',
  'packages/cli/src/terminal/terminal',
  'tests/sandbox/scopes',
  'packages/executor/src/service/recover',
  'tests/workloads/workloads',
  'tests/sandbox/weakened',
  'packages/gate/src/bounds/bounds',
  'tests/chaos/kill',
  'packages/executor/src/evidence/measure',
  'packages/cli/src/action/secrets',
  'tests/integration/placement',
  'packages/cli/src/main',
  'tests/documents/readme',
  'tests/sandbox/egress',
  'tests/sandbox/repository-code',
  'packages/executor/src/execute',
  'packages/executor/src/main',
  'packages/executor/src/admission/refusal',
  'tests/chaos/uncaught',
  'tests/sandbox/results',
  'tests/sandbox/battery',
  'tests/sandbox/neighbours',
];

/** Starts long test files first, and then as Vitest would. */
export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = long.findIndex((it) => moduleId.endsWith(`/${it}.test.ts`));
      return index < 0 ? long.length : index;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
