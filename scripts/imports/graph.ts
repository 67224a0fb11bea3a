// Who imports whom, read off the sources: values, types and lazy imports alike.
import { dirname, join, normalize } from 'node:path';

/** One import statement of a production file. Paths are relative to the repository. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
  /** `import('…')`, which runs only when it is called: it may close a circle of files, never one of rooms. */
  readonly lazy: boolean;
}

export interface Sources {
  /** By the path of a file, its text. */
  readonly files: ReadonlyMap<string, string>;
  /** By what is written in an import, `@csc-fleet/common/errors`, the file that it names. */
  readonly entries: ReadonlyMap<string, string>;
}

const importPattern = /^(?:import|export)\s[^;]*?from\s+'([^']+)'|^import\s+'([^']+)'|import\('([^']+)'\)/gms;

/** All imports between files that are ours; what comes from a library is not among them. */
export function readArrows({ files, entries }: Sources): Arrow[] {
  return [...files].flatMap(([from, text]) =>
    [...text.matchAll(importPattern)].flatMap((match): Arrow[] => {
      const written = match[1] ?? match[2] ?? match[3] ?? '';
      const to = written.startsWith('.') ? normalize(join(dirname(from), written)) : entries.get(written);
      return to === undefined || !to.endsWith('.ts') ? [] : [{ from, to, lazy: match[3] !== undefined }];
    }),
  );
}

/** One circle among the arrows, as the way round it, or nothing. */
export function findCircle(arrows: readonly (readonly [string, string])[]): string[] | undefined {
  const next = new Map<string, Set<string>>();
  for (const [from, to] of arrows) next.set(from, (next.get(from) ?? new Set()).add(to));
  const done = new Set<string>();
  const visit = (node: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(node)) return [...trail.slice(trail.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const other of next.get(node) ?? []) {
      const circle = visit(other, [...trail, node]);
      if (circle !== undefined) return circle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of next.keys()) {
    const circle = visit(node, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}
