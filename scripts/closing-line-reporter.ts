import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends a run with one plain line, `N passed, N failed, N skipped`, for people and scripts that read logs; a long one says
 * before that which files took longest, in seconds, so that who has made one slow sees it.
 */
export class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === 'passed' || state === 'failed' || state === 'skipped') counts[state]++;
      }
      if (module.state() === 'failed' && module.errors().length > 0) counts.failed++;
    }
    if (modules.length > 50) process.stdout.write(`\nlongest: ${longest(modules, 10).join(', ')}\n`);
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  }
}

function longest(modules: readonly TestModule[], count: number): string[] {
  const took = modules.map((module) => ({ file: module.relativeModuleId, ms: module.diagnostic().duration }));
  return took
    .sort((a, b) => b.ms - a.ms)
    .slice(0, count)
    .map(({ file, ms }) => `${file.replace(/\.test\.ts$/, '')} ${Math.round(ms / 1000)}`);
}
