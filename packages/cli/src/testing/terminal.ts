import { fileURLToPath } from 'node:url';
import { type IPty, spawn } from 'node-pty';

const bin = fileURLToPath(new URL('../../bin/csc.js', import.meta.url));

/** A csc on a terminal: everything that it wrote there, escapes and all. */
export interface OnTerminal {
  readonly pty: IPty;
  /** Resolves with all output and the exit code, once it has ended. */
  readonly ended: Promise<{ readonly screen: string; readonly code: number }>;
  /** Resolves once the output matches. */
  waitFor(pattern: RegExp): Promise<void>;
}

/** Runs the real `csc` on a terminal of its own. */
export function cscOnTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}): OnTerminal {
  const { NO_COLOR: _, CI: __, ...own } = process.env;
  const pty = spawn(process.execPath, [bin, ...args], {
    name: 'xterm-256color',
    cols: 200,
    rows: 50,
    env: { ...own, TERM: 'xterm-256color', ...env },
  });
  let screen = '';
  const waiting = new Set<() => void>();
  pty.onData((data) => {
    screen += data;
    for (const check of waiting) check();
  });
  const ended = new Promise<{ screen: string; code: number }>((resolve) => {
    pty.onExit(({ exitCode }) => resolve({ screen, code: exitCode }));
  });
  return {
    pty,
    ended,
    waitFor: (pattern) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (!pattern.test(screen)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
        ended.then(() => reject(new Error(`it ended before ${pattern}:\n${screen}`)));
      }),
  };
}
