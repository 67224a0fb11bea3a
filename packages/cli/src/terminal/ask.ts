import { createInterface } from 'node:readline/promises';

/** True where somebody is there to be asked: stdin and stderr are terminals. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** What somebody types at a question on stderr, without white space around it. Empty at the end of input and on Ctrl-C. */
export async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await new Promise<string>((resolve, reject) => {
      for (const event of ['close', 'SIGINT'] as const) lines.once(event, () => resolve(''));
      lines.question(question).then((answer) => resolve(answer.trim()), reject);
    });
  } finally {
    lines.close();
  }
}
