import { afterEach, beforeEach, expect, vi } from 'vitest';
import { TestGate, type TestGateOptions } from './test-gate.ts';

/**
 * A gate of its own for each test of a file, under faked intervals (`TestGate.sweep`). At the end it must have told of no
 * error that nobody took.
 */
export function openGateForEach(take: (test: TestGate) => void, options: TestGateOptions = {}): void {
  let test: TestGate | undefined;
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    test = await TestGate.open(options);
    take(test);
  });
  afterEach(async () => {
    await test?.close();
    vi.useRealTimers();
    expect(test?.errors).toEqual([]);
  });
}
