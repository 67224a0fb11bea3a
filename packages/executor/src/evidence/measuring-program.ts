import type * as NodeCrypto from 'node:crypto';
import type * as NodeFs from 'node:fs';
import { decodePath, encodePath } from '@csc-fleet/sandbox/host';
import { createArtifactHash } from './artifact-hash.ts';
import { createOutputSearch, type SearchRequest } from './output-search.ts';
import { createTreeWalk, type WalkSystem } from './tree-walk.ts';

/** The variable that says where native/confine is; empty: there is none. */
export const confineVariable = 'CSC_CONFINE';

/** What the child is asked, one JSON document a line; `since` is a decimal number, as JSON has no bigint. */
export type MeasuringRequest =
  | {
      readonly measure: {
        readonly roots: readonly string[];
        readonly since: string;
        readonly entries: number;
        readonly ms: number;
      };
    }
  | {
      readonly hash: {
        readonly paths: readonly string[];
        readonly roots: readonly string[];
        readonly maxBytes: number;
        readonly ms: number;
      };
    }
  | { readonly search: SearchRequest };

// Its text is the program, as are those of what it is given: it must refer to nothing else but Node's globals.
function serve(
  fs: typeof NodeFs,
  createHash: (typeof NodeCrypto)['createHash'],
  makeWalk: typeof createTreeWalk,
  makeHash: typeof createArtifactHash,
  makeSearch: typeof createOutputSearch,
  names: Pick<WalkSystem, 'encodePath' | 'decodePath'>,
): void {
  const system = { fs, onLinux: process.platform === 'linux', ...names };
  const walk = makeWalk({ ...system, mayMove: true });
  const hash = makeHash({ ...system, createHash });
  const search = makeSearch(fs);
  const say = (answer: object): void => {
    const line = Buffer.from(`${JSON.stringify(answer)}\n`);
    for (let at = 0; at < line.length; ) at += fs.writeSync(1, line, at);
  };
  const serveOne = (request: MeasuringRequest): void => {
    if ('measure' in request) {
      const { since, ...rest } = request.measure;
      say({ written: walk({ ...rest, since: BigInt(since) }) });
    } else if ('search' in request) {
      search(request.search, (index, answer) => say({ index, ...answer }));
    } else {
      hash(request.hash, (index, answer) => say({ index, ...answer }));
    }
    say({ done: true });
  };
  const chunk = Buffer.alloc(65_536);
  let parts: Buffer[] = [];
  // Its parent's end is the end of its input.
  for (let read = fs.readSync(0, chunk); read > 0; read = fs.readSync(0, chunk)) {
    parts.push(Buffer.from(chunk.subarray(0, read)));
    // One request at a time, so a line's end is a chunk's.
    if (chunk[read - 1] !== 10) continue;
    const request: MeasuringRequest = JSON.parse(Buffer.concat(parts).toString('utf8'));
    parts = [];
    serveOne(request);
  }
}

// Before a name or a byte of a job's is seen. What is hashed with is loaded by then.
const confine = `require('node:crypto').createHash('sha256');
if (process.env.${confineVariable}) process.dlopen({ exports: {} }, process.env.${confineVariable});`;

/**
 * The program of the measuring child, for `node -e`. It is text so that a bundle needs no second file, and so that the job
 * user, whom the child runs as, needs not be able to read this program's files.
 */
export const measuringProgram = `${confine}
(${serve})(require('node:fs'), require('node:crypto').createHash, ${createTreeWalk}, ${createArtifactHash}, ${createOutputSearch}, { encodePath: ${encodePath}, decodePath: ${decodePath} });`;
