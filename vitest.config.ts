import { defineConfig } from 'vitest/config';

// Two workers: the tests start real gates, executors and sandboxes, which need cores of their own.
export default defineConfig({
  test: {
    include: ['packages/**/*.test.ts', 'tests/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
