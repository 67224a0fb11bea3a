import { styleText } from 'node:util';

/** Puts a format on a text, or leaves the text as it is. */
export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string;

/** Colours for stdout or stderr: only where it is a terminal, and as NO_COLOR and FORCE_COLOR say (node:util). */
export function createPaint(stream: NodeJS.WriteStream): Paint {
  return (format, text) => styleText(format, text, { stream });
}
