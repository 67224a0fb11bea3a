import { afterAll, expect, vi } from 'vitest';

// The files of a worker share one process and its modules (vitest.config.ts): what one of them leaves changed would
// decide how the next ones fare. Runs once a file.
const before = sharedState();

afterAll(() => {
  expect(vi.isFakeTimers(), 'fake timers are still on').toBe(false);
  expect(sharedState(), 'this file leaves process-wide state changed').toEqual(before);
});

/** What any code in a process may change for all of it. (The umask can be read only by setting it, so nobody sets it.) */
function sharedState(): object {
  const signals = process.eventNames().filter((name) => /^SIG|^uncaught|^unhandled/.test(String(name)));
  return {
    environment: { ...process.env },
    directory: process.cwd(),
    title: process.title,
    argv: [...process.argv],
    exitCode: process.exitCode,
    listeners: Object.fromEntries(signals.map((name) => [name, process.listenerCount(name)])),
  };
}
