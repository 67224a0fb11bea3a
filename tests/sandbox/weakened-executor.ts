// An executor that spoils the sandboxes of commands that ask for it: it shows that the probes bite. A command asks by
// the name of a weakening as its last argument. The one argument here is the config.
import { runExecutor } from '@csc-fleet/executor/main';
import { findWeakening } from './weakenings.ts';

const [config = ''] = process.argv.slice(2);

void runExecutor(config, {
  wrapLauncher: (launcher) => ({
    launch: ({ place, ...spec }) => {
      const spoil = findWeakening(spec.segments[0]?.argv.at(-1) ?? '');
      const isSpoilt = spoil !== undefined && place.kind === 'sandbox';
      return launcher.launch({ ...spec, place: isSpoilt ? { ...place, plan: spoil(place.plan) } : place });
    },
    close: () => launcher.close(),
  }),
});
