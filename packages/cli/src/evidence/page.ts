import { createHash } from 'node:crypto';
import { pageProgram } from './page-program.ts';
import { pageStyle } from './page-style.ts';

/**
 * A page that verifies a bundle by itself, offline: the files are in it as base64, in which nothing of a page can hide; its
 * program and its style are the only ones that its policy lets run, and it can ask nobody for anything.
 */
export function toPage(files: ReadonlyMap<string, Uint8Array>): string {
  const entries = [...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString('base64')]);
  // Neither </script nor <!-- can stand in it, whatever a file is called.
  const data = JSON.stringify(entries).replaceAll('<', '\\u003c');
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(pageProgram)}'`,
    `style-src '${hashOf(pageStyle)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return `<!doctype html>
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
<main id="report"><p>Verifying …</p></main>
<noscript><p>This page verifies the bundle with a script of its own. Without it, use: csc audit verify-bundle DIR</p></noscript>
<script type="text/plain" id="bundle">${data}</script>
<script>${pageProgram}</script>
</body>
</html>
`;
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
