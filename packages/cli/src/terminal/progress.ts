import { fstatSync } from 'node:fs';
import { note, type Sink } from './streams.ts';
import { formatElapsed } from './text.ts';

/** What is told while something goes on, on stderr. */
export interface Progress {
  /** What is happening now: a live line with the time elapsed, on a terminal; nothing elsewhere. */
  now(text: string): void;
  /** Something that has happened: a line that stays. It waits while the command is in the middle of a line of its own. */
  line(text: string): void;
  /** What somebody must read at once: the same, but a line that the command has begun is broken for it. */
  alert(text: string): void;
  /** The outputs, for what is shown meanwhile: a live line makes way for it. */
  readonly out: Sink;
  readonly err: Sink;
  /** Takes the live line away for good, ends the command's last line and says what has waited for that. */
  stop(): void;
}

/** Where the command's own output goes. */
export interface Outputs {
  readonly out: Sink;
  readonly err: Sink;
}

const silence = () => {};

/** @param quiet says nothing at all, alerts apart */
export async function createProgress(quiet: boolean, outputs: Outputs): Promise<Progress> {
  const lines = createLines(outputs);
  if (!quiet && canRedraw(process.stderr)) return createLive(lines);
  // What is left as the command wrote it stays so, to the last byte.
  return { ...lines, now: silence, ...(quiet ? { line: silence, stop: silence } : {}) };
}

interface Lines extends Omit<Progress, 'now'> {
  /** True while the command's last line has no end yet. */
  isMidLine(): boolean;
}

const lineFeed = 0x0a;

/** Our lines and the command's output in one place, none of them within a line of the other. */
function createLines({ out, err }: Outputs): Lines {
  let midLine = false;
  const held: string[] = [];
  const flush = (): void => {
    for (const text of held.splice(0)) note(text);
  };
  const endLine = (): void => {
    if (midLine) note('');
    midLine = false;
    flush();
  };
  const following =
    (write: Sink): Sink =>
    async (data) => {
      await write(data);
      if (data.length === 0) return;
      midLine = data.at(-1) !== lineFeed && data.at(-1) !== '\n';
      if (!midLine) flush();
    };
  return {
    line: (text) => {
      if (midLine) held.push(text);
      else note(text);
    },
    alert: (text) => {
      endLine();
      note(text);
    },
    out: isOnePlace() ? following(out) : out,
    err: following(err),
    stop: endLine,
    isMidLine: () => midLine,
  };
}

/** True where stdout and stderr are one terminal, pipe or file: `2>&1`. */
function isOnePlace(): boolean {
  try {
    const [out, err] = [fstatSync(1), fstatSync(2)];
    return out.dev === err.dev && out.ino === err.ino;
  } catch {
    // One of them is closed (fstat(2), EBADF).
    return false;
  }
}

// A live line is drawn over the one before it, which takes a width to reckon with. Terminals of 0 columns are those that
// nobody has told their size: expect, docker -t, serial lines, some CI runners.
function canRedraw({ isTTY, columns }: NodeJS.WriteStream): boolean {
  return isTTY && columns > 0 && process.env['TERM'] !== 'dumb' && !process.env['CI'];
}

// How long output must pause before the live line comes back below it.
const pauseMs = 250;

// Loaded on a terminal only: a spinner costs more to load than the rest of a short run.
async function createLive(lines: Lines): Promise<Progress> {
  const { default: ora } = await import('ora');
  const since = performance.now();
  const suffixText = () => `· ${formatElapsed(performance.now() - since)}`;
  const spinner = ora({ stream: process.stderr, discardStdin: false, suffixText });
  let resume: NodeJS.Timeout | undefined;
  // A size can be lost, too: what asks for the width afterwards would clear lines without end. And a line that the command
  // has not ended is the command's: the live line would write over it.
  const show = (): void => {
    if (!lines.isMidLine() && canRedraw(process.stderr) && !spinner.isSpinning) spinner.start();
  };
  // Stopping one that does not spin would still move the cursor.
  const hide = (): void => {
    clearTimeout(resume);
    if (spinner.isSpinning) spinner.stop();
  };
  const onResize = (): void => {
    if (!canRedraw(process.stderr)) hide();
  };
  process.stderr.on('resize', onResize);
  const makeWay =
    (write: Sink): Sink =>
    async (data) => {
      hide();
      await write(data);
      resume = setTimeout(show, pauseMs).unref();
    };
  return {
    now: (text) => {
      spinner.text = text;
      if (resume === undefined) show();
    },
    line: lines.line,
    alert: lines.alert,
    out: process.stdout.isTTY ? makeWay(lines.out) : lines.out,
    err: makeWay(lines.err),
    stop: () => {
      process.stderr.off('resize', onResize);
      hide();
      lines.stop();
    },
  };
}
