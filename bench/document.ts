import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readReport, toMarkdown } from './report.ts';

/** Where figures and profiles are published. */
export const documentFile = fileURLToPath(new URL('../docs/performance.md', import.meta.url));

/**
 * Puts `text` in place of what stands between `<!-- NAME -->` and `<!-- /NAME -->` in a Markdown file. Throws where there is
 * no such place.
 */
export function replaceBlock(file: string, name: string, text: string): void {
  const document = readFileSync(file, 'utf8');
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [begin, end] = [document.indexOf(open), document.indexOf(close)];
  if (begin < 0 || end < begin) throw new Error(`${file} has no place for ${name}: ${open} … ${close}`);
  const head = document.slice(0, begin + open.length);
  writeFileSync(file, `${head}\n\n${text.trim()}\n\n${document.slice(end)}`);
}

/** Publishes the figures of these reports. */
export function publishReports(files: readonly string[]): void {
  replaceBlock(documentFile, 'figures', files.map((file) => toMarkdown(readReport(file))).join('\n\n'));
}
