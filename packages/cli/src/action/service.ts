import { writeSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { isCscError } from '@csc-fleet/common/errors';
import { note } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { reportError } from './act.ts';
import { exitCodes } from './exit-codes.ts';
import { tendHeap } from './tend-heap.ts';

/** Resolves to what its owner should look at. */
type Service = (configPath: string, options: { readonly checkOnly: boolean }) => Promise<readonly string[]>;

const aboutTheConfig: readonly string[] = [
  'CONFIG_INVALID',
  'POLICY_INVALID',
  'KEY_INVALID',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
];

/** Runs a service to its end, or only looks at its config. Resolves to the exit code. */
export async function runService(configPath: string, checkOnly: boolean, service: Service): Promise<number> {
  // Output passes in buffers that lie outside V8's heap. By default each 64 MiB of them bring a full collection, which is
  // most of what relaying output costs; counted as part of the heap they bring one when the heap is due for it.
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  using _tended = tendHeap();
  using _guarded = guardEnd();
  let warnings: readonly string[] = [];
  try {
    warnings = await service(configPath, { checkOnly });
  } catch (error) {
    if (!isCscError(error) || !aboutTheConfig.includes(error.code)) throw error;
    await reportError(error, false);
    return exitCodes.badConfig;
  }
  for (const warning of warnings) note(plainLine(`csc: WARNING ${warning}`));
  if (checkOnly) note(`${configPath} is good`);
  return exitCodes.ok;
}

// Once nothing is left that could wake it, Node ends with 0 and without a word, whatever is still awaited. Of a service
// that is a failure, and whoever looks after it is to start it again.
function guardEnd(): Disposable {
  const onExit = (code: number): void => {
    if (code !== 0) return;
    writeSync(2, 'ERROR — the service ended before it was told to: nothing was left to wait for\n');
    process.exitCode = exitCodes.internal;
  };
  process.once('exit', onExit);
  return { [Symbol.dispose]: () => process.off('exit', onExit) };
}
