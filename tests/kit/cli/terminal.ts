import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { type IPty, spawn } from '@lydell/node-pty';
import { cscBin } from '../process.ts';

/** A csc on a terminal: everything that it wrote there, escapes and all. */
export interface OnTerminal {
  readonly pty: IPty;
  /** Resolves with all output and the exit code, once it has ended. */
  readonly ended: Promise<{ readonly screen: string; readonly code: number }>;
  /** Resolves once the output matches. */
  waitFor(pattern: RegExp): Promise<void>;
}

/** Takes a terminal its size, as if nobody had ever told it. Its users hear of it (SIGWINCH). */
export function forgetSize(pty: IPty): void {
  // node-pty refuses what terminals may well be.
  execFileSync('stty', ['-F', readlinkSync(`/proc/${pty.pid}/fd/2`), 'cols', '0', 'rows', '0']);
}

/** Runs the real `csc` on a terminal of its own. */
export function cscOnTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}): OnTerminal {
  return onTerminal([process.execPath, cscBin, ...args], env);
}

/** The same on a terminal of no size. */
export function cscOnBlankTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}): OnTerminal {
  const script = 'stty cols 0 rows 0; exec "$@"';
  return onTerminal(['/bin/sh', '-c', script, 'sh', process.execPath, cscBin, ...args], env);
}

/** Runs any program on a terminal of its own. */
export function onTerminal([program = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): OnTerminal {
  const { NO_COLOR: _, CI: __, ...own } = process.env;
  const pty = spawn(program, args, {
    name: env['TERM'] ?? 'xterm-256color',
    cols: 200,
    rows: 50,
    env: { ...own, ...env },
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
        void ended.then(() => reject(new Error(`it ended before ${pattern}:\n${screen}`)));
      }),
  };
}
