import { defineConfig } from 'vitest/config';
import { ClosingLineReporter } from './scripts/closing-line-reporter.ts';
import { LongFilesFirst } from './scripts/long-files-first.ts';

// Three workers on two cores: the tests start real gates, executors and sandboxes, and wait for them a third of the time. The files
// of a worker share its modules (loading them anew for each took a third of all time); leave-as-found.ts holds them to that.
export default defineConfig({
  test: {
    include: ['packages/**/*.test.ts', 'tests/**/*.test.ts'],
    globalSetup: ['tests/kit/bundle.ts'],
    setupFiles: ['tests/kit/leave-as-found.ts'],
    isolate: false,
    // Node runs the sources as they are: what Vite would make of them first is nothing that they need.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    sequence: { sequencer: LongFilesFirst },
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is asked until it holds is asked for long: a second is none on a machine that does much else.
    expect: { poll: { timeout: 30_000, interval: 20 } },
    reporters: ['default', new ClosingLineReporter()],
  },
});
