import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { openCommandPipes } from './command-pipes.ts';
import type { Launcher } from './launcher.ts';
import { prepareLocalSegment } from './local-segment.ts';
import { OutputStream } from './output-stream.ts';
import { createPipePool } from './pipe-pool.ts';
import { orInfrastructure, supervise } from './supervise.ts';

/**
 * Runs commands on the host itself, for workstations without Linux: nothing is confined. A process that leaves its
 * process group (setsid(2)) outlives the command.
 */
export function createLocalLauncher(): Launcher {
  const pipePool = createPipePool({ directory: defaultScratchDirectory() });
  return {
    launch({ segments, place, hold, terminal }) {
      if (place.kind !== 'local') throw new TypeError('the local launcher has no sandbox to offer');
      if (terminal !== undefined) throw new TypeError('the local launcher has no terminal to offer');
      return orInfrastructure(() => {
        const pipes = openCommandPipes(pipePool, segments.length);
        const prepared = segments.map(({ argv }, index) =>
          prepareLocalSegment(argv, place, pipes.stdioOf(index)),
        );
        return supervise({
          segments: prepared,
          stdout: new OutputStream(pipes.stdout),
          stderr: new OutputStream(pipes.stderr),
          hold,
          builds: false,
          letGo() {
            for (const segment of prepared) segment.start();
            pipes.closePassed();
          },
          cleanUp: () => pipes.closePassed(),
        });
      });
    },
    close: () => pipePool.close(),
  };
}
