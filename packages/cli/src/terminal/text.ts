import { styleText } from 'node:util';
import { showInvisible } from '@csc-fleet/common/errors';
import { mayBeTerminal } from './streams.ts';

/** Puts a format on a text, or leaves the text as it is. */
export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string;

/** Colours for stdout or stderr: only where it is a terminal, and as NO_COLOR and FORCE_COLOR say (node:util). */
export function paintFor(fd: 1 | 2): Paint {
  const isPlain = !mayBeTerminal(fd) && process.env['FORCE_COLOR'] === undefined;
  return isPlain ? (_format, text) => text : createPaint(fd === 1 ? process.stdout : process.stderr);
}

/** The same of a stream that is there already. */
export function createPaint(stream: NodeJS.WriteStream): Paint {
  return (format, text) => styleText(format, text, { stream });
}

/** Text from elsewhere made safe for a terminal, on one line: see `showInvisible`. */
export function plainLine(text: string): string {
  return showInvisible(text).replace(/\s*[\n\t]\s*/g, ' ');
}

/** `0.8 s`, `42 s`, `3 min 05 s`, `2 h 07 min`, of milliseconds. */
export function formatElapsed(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  const two = (value: number) => String(value).padStart(2, '0');
  if (minutes < 60) return `${minutes} min ${two(whole % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** The same of what is over: `34 ms` below a second, where a clock that runs would flicker. */
export function formatDuration(ms: number): string {
  return Math.round(ms) < 1000 ? `${Math.round(ms)} ms` : formatElapsed(ms);
}

/** What a terminal showed, for one that it is not to speak to: its lines, and each control character as it is written. */
export function readable(data: Uint8Array): string {
  return showInvisible(Buffer.from(data).toString('utf8').replaceAll('\r\n', '\n'));
}
