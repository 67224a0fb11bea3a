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
  'packages/executor/src/service/recover',
  'tests/sandbox/weakened',
  'packages/gate/src/bounds/bounds',
  'tests/chaos/kill',
  'packages/executor/src/evidence/measure',
  'packages/cli/src/action/secrets',
  'tests/integration/placement',
  'packages/cli/src/main',
  'tests/documents/readme',
  'tests/sandbox/egress',
  'packages/executor/src/execute',
  'packages/executor/src/main',
  'packages/executor/src/admission/refusal',
  'tests/chaos/uncaught',
];

// Those that share a fleet (tests/kit/shared-fleet.ts), one after the other and last: it idles for nobody.
const last = [
  'tests/sandbox/scopes',
  'tests/sandbox/repository-code',
  'tests/workloads/workloads',
  'tests/sandbox/results',
  'tests/sandbox/battery',
  'tests/sandbox/neighbours',
];

/** Starts long test files first, then as Vitest would, and those of the shared fleet last. */
export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const placeIn = (files: readonly string[]): number =>
        files.findIndex((it) => moduleId.endsWith(`/${it}.test.ts`));
      const [early, late] = [placeIn(long), placeIn(last)];
      if (late >= 0) return long.length + 1 + late;
      return early < 0 ? long.length : early;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
