// `csc executor --config FILE`, but for a fault: with a command that says `fail-here`, its own handler throws.
import { setTimeout as sleep } from 'node:timers/promises';
import { runExecutor } from '@csc-fleet/executor/main';

const [config = ''] = process.argv.slice(2);
void runExecutor(config, {
  wrapLauncher: (launcher) => ({
    ...launcher,
    launch(spec) {
      const launched = launcher.launch(spec);
      const isMeant = spec.segments.some(({ argv }) => argv.some((word) => word.includes('fail-here')));
      if (isMeant) void launched.started.then(() => sleep(50)).then(fail);
      return launched;
    },
  }),
});

function fail(): never {
  throw new Error('the fault of a test');
}
