import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { parseCastEvent, parseCastHeader } from '@csc-fleet/common/terminal';
import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { readInput } from '../files/read-input.ts';
import { fetchRecording } from '../show/recording.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
What was shown then is shown now, control sequences and all, as any player does: play what you would have run. Elsewhere than on
a terminal it is written at once. asciinema play FILE does the same.

Examples:
  $ csc play session.cast --speed 2 --idle-limit 1
  $ csc play EXECUTION                               fetched, and held against its receipt
`;

interface PlayOptions extends GateOptions {
  readonly speed: number;
  readonly idleLimit?: number;
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('Say it as a number above 0.');
}

export function definePlay(command: Command): void {
  command
    .description('Play the recording of a terminal (asciicast v3).')
    .argument('<recording>', 'a file, or an execution');
  addTokenOptions(addGateOptions(command))
    .option('--speed <factor>', 'how many times as fast', parsePositive, 1)
    .option('--idle-limit <seconds>', 'the longest pause', parsePositive)
    .addHelpText('after', help);
  act<[string, PlayOptions]>(command, async (named, options) => {
    await play(await readRecording(named, options), options);
    return exitCodes.ok;
  });
}

// What a receipt may name of a terminal, and more.
const mostBytes = 256 * 1024 * 1024;

async function readRecording(named: string, options: GateOptions): Promise<string> {
  if (named === '-' || existsSync(named)) return (await readInput(named, mostBytes)).toString('utf8');
  using client = connectGate(options, await identify(options));
  return (await fetchRecording(client, await resolveExecution(client, named))).toString('utf8');
}

async function play(
  text: string,
  { speed, idleLimit = Number.POSITIVE_INFINITY }: PlayOptions,
): Promise<void> {
  const [first = '', ...lines] = text.split('\n');
  const header = parseCastHeader(first);
  if (header === undefined)
    throw new CscError(
      'ENCODING_INVALID',
      'this is no asciicast v3: its first line must be a header of version 3',
    );
  const { columns = 0, rows = 0, isTTY } = process.stdout;
  if (isTTY && (columns < header.columns || rows < header.rows))
    note(
      `csc: recorded on ${header.columns}x${header.rows}, and this terminal is ${columns}x${rows}: it may look odd`,
    );
  let cut: string | undefined;
  for (const line of lines) {
    const event = parseCastEvent(line);
    if (event === undefined) continue;
    // Every event takes its time, shown or not.
    if (isTTY) await sleep((Math.min(event.interval, idleLimit) * 1000) / speed);
    if (event.code === 'o') await writeOut(event.data);
    if (event.code === 'm' && /\bcut here\b/.test(event.data)) cut = event.data;
  }
  // Whatever it was in the middle of.
  if (isTTY) await writeOut('\x1b[0m\x1b[?25h\x1b[?1049l\n');
  if (cut !== undefined) note(plainLine(`csc: ${cut}`));
}
