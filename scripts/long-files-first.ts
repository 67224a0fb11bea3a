import { BaseSequencer, type TestSpecification } from 'vitest/node';

// The files that take longest, longest first: one that begins last has a worker to itself while the other one is idle.
// Vitest knows by itself only where it has run before.
const long = [
  'tests/packages/install',
  // It ends services in order, which is when their compiled code is kept for the next ones.
  'tests/integration/migration',
  'tests/adversarial/hostile-gate',
  'tests/adversarial/rogue-gate',
  'tests/sandbox/limits',
  'packages/cli/src/commands/submit',
  'packages/cli/src/commands/run',
  'tests/documents/readme',
  'tests/sandbox/weakened',
  'tests/sandbox/scopes',
  'packages/cli/src/terminal/terminal',
  'tests/integration/rollout',
  'packages/executor/src/service/recover',
  'packages/cli/src/bundle',
  'packages/cli/src/action/secrets',
  'packages/cli/src/action/service',
  'packages/gate/src/bounds/bounds',
  'packages/sandbox/src/launch/bwrap-launcher',
  'tests/workloads/workloads',
  'tests/chaos/storm',
  'tests/chaos/bad-host',
  'tests/chaos/kill',
  'tests/chaos/full-disk',
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
