import { createHash } from 'node:crypto';
import { toBuffer } from '@csc-fleet/common/encoding';
import { pageProgram } from './page-program.ts';
import { pageStyle } from './page-style.ts';

/** Bytes of a bundle that a page holds at most: as base64 and as what it says, a browser has several times as much to keep. */
const pageBytes = 128 * 1024 * 1024;

/**
 * A page that verifies a bundle by itself, offline: the files are in it as base64, in which nothing of a page can hide;
 * its program and its style are the only ones that its policy lets run, and it can ask nobody for anything. In pieces:
 * no string of Node, nor of a browser, holds a large one. Where the bundle is larger than `maxBytes`, the page says
 * that it verifies nothing.
 */
export function* toPage(files: ReadonlyMap<string, Uint8Array>, maxBytes = pageBytes): Generator<string> {
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(pageProgram)}'`,
    `style-src '${hashOf(pageStyle)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>CSC audit bundle</title>
<style>${pageStyle}</style>
</head>
<body>
`;
  if (fitsPage(files, maxBytes)) yield* toProgram(files);
  else
    yield `<main id="report" class="done faulty"><h1>CSC audit bundle</h1><p class="verdict bad">NOT VERIFIED: this bundle has more than the ${maxBytes} bytes that a page holds. Use: csc audit verify-bundle DIR</p></main>
`;
  yield '</body>\n</html>\n';
}

/** Lower-case hex, of the page that this csc makes of the files, in their order. */
export function hashOfPage(files: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash('sha256');
  for (const piece of toPage(files)) hash.update(piece);
  return hash.digest('hex');
}

/** Whether a page of these files has them in it. */
export function fitsPage(files: ReadonlyMap<string, Uint8Array>, maxBytes = pageBytes): boolean {
  let bytes = 0;
  for (const content of files.values()) bytes += content.length;
  return bytes <= maxBytes;
}

function* toProgram(files: ReadonlyMap<string, Uint8Array>): Generator<string> {
  yield `<main id="report"><p>Verifying …</p></main>
<noscript><p>This page verifies the bundle with a script of its own. Without it, use: csc audit verify-bundle DIR</p></noscript>
`;
  for (const entries of toBatches(files)) {
    // Neither </script nor <!-- can stand in it, whatever a file is called.
    const data = JSON.stringify(entries).replaceAll('<', '\\u003c');
    yield `<script type="text/plain" class="bundle">${data}</script>\n`;
  }
  yield `<script>${pageProgram}</script>\n`;
}

// A multiple of 3, so that the parts of a file are base64 by themselves.
const batchBytes = 768 * 1024;

/** The files in batches of about as many bytes; a long one in parts, which follow one another by the same name. */
function* toBatches(files: ReadonlyMap<string, Uint8Array>): Generator<[string, string][]> {
  let batch: [string, string][] = [];
  let bytes = 0;
  for (const [path, content] of files)
    for (let at = 0; at === 0 || at < content.length; at += batchBytes) {
      const part = content.subarray(at, at + batchBytes);
      batch.push([path, toBuffer(part).toString('base64')]);
      bytes += part.length + path.length;
      if (bytes < batchBytes) continue;
      yield batch;
      [batch, bytes] = [[], 0];
    }
  yield batch;
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
