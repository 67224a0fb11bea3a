import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { systemCalls } from './system-calls.ts';

// What the C compiler of this machine says that the calls are. Its headers may be older or newer than our table.
function headerNumbers(): ReadonlyMap<string, number> {
  const input = '#include <asm/unistd.h>\n';
  const macros = execFileSync('gcc', ['-E', '-dM', '-'], { input, encoding: 'utf8' });
  const found = macros.matchAll(/^#define __NR_(\w+) (\d+)$/gm);
  return new Map([...found].map(([, name = '', number]) => [name, Number(number)]));
}

describe('systemCalls', () => {
  it('has the numbers of the system headers', () => {
    const numbers = systemCalls(process.arch === 'arm64' ? 'aarch64' : 'x86_64');
    const shared = [...headerNumbers()].filter(([name]) => name in numbers);
    expect(shared.length).toBeGreaterThan(300);
    for (const [name, number] of shared) expect([name, numbers[name]]).toEqual([name, number]);
  });

  it('gives no number twice, and the same to what came after 5.0', () => {
    const [x86, arm] = [systemCalls('x86_64'), systemCalls('aarch64')];
    for (const table of [x86, arm]) {
      const all = Object.values(table);
      expect(new Set(all).size).toBe(all.length);
    }
    for (const [name, number] of Object.entries(x86))
      if (number >= 424) expect([name, arm[name]]).toEqual([name, number]);
  });
});
