import { note, type Sink } from './streams.ts';
import { formatElapsed } from './text.ts';

/** What is told while something goes on, on stderr. */
export interface Progress {
  /** What is happening now: a live line with the time elapsed, on a terminal; nothing elsewhere. */
  now(text: string): void;
  /** Something that has happened: a line that stays. */
  line(text: string): void;
  /** The outputs, for what is shown meanwhile: a live line makes way for it. */
  readonly out: Sink;
  readonly err: Sink;
  /** Takes the live line away for good. */
  stop(): void;
}

/** Where the command's own output goes. */
export interface Outputs {
  readonly out: Sink;
  readonly err: Sink;
}

const silence = () => {};

/** @param quiet says nothing at all */
export async function createProgress(quiet: boolean, { out, err }: Outputs): Promise<Progress> {
  if (!quiet && canRedraw(process.stderr)) return createLive({ out, err });
  return { now: silence, line: quiet ? silence : note, out, err, stop: silence };
}

// A live line is drawn over the one before it, which takes a width to reckon with. Terminals of 0 columns are those that
// nobody has told their size: expect, docker -t, serial lines, some CI runners.
function canRedraw({ isTTY, columns }: NodeJS.WriteStream): boolean {
  return isTTY && columns > 0 && process.env['TERM'] !== 'dumb' && !process.env['CI'];
}

// How long output must pause before the live line comes back below it.
const pauseMs = 250;
const lineFeed = 0x0a;

// Loaded on a terminal only: a spinner costs more to load than the rest of a short run.
async function createLive({ out, err }: Outputs): Promise<Progress> {
  const { default: ora } = await import('ora');
  const since = performance.now();
  const suffixText = () => `· ${formatElapsed(performance.now() - since)}`;
  const spinner = ora({ stream: process.stderr, discardStdin: false, suffixText });
  let resume: NodeJS.Timeout | undefined;
  let midLine = false;
  // A size can be lost, too: what asks for the width afterwards would clear lines without end.
  const show = (): void => {
    if (!midLine && canRedraw(process.stderr) && !spinner.isSpinning) spinner.start();
  };
  // Stopping one that does not spin would still move the cursor.
  const hide = (): void => {
    clearTimeout(resume);
    if (spinner.isSpinning) spinner.stop();
  };
  const endLine = (): void => {
    if (midLine) note('');
    midLine = false;
  };
  // A line that the command has not ended is the command's: the live line would write over it.
  const onResize = (): void => {
    if (!canRedraw(process.stderr)) hide();
  };
  process.stderr.on('resize', onResize);
  const makeWay =
    (write: Sink): Sink =>
    async (data) => {
      hide();
      await write(data);
      midLine = data.length > 0 && data.at(-1) !== lineFeed && data.at(-1) !== '\n';
      resume = setTimeout(show, pauseMs).unref();
    };
  return {
    now: (text) => {
      spinner.text = text;
      if (resume === undefined) show();
    },
    line: (text) => {
      endLine();
      note(text);
    },
    out: process.stdout.isTTY ? makeWay(out) : out,
    err: makeWay(err),
    stop: () => {
      process.stderr.off('resize', onResize);
      hide();
      endLine();
    },
  };
}
