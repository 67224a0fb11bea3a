// An executor whose sandbox was spoiled on purpose: it shows that the probes bite. Arguments: the weakening, the config.
import { runExecutor } from '@csc-fleet/executor/main';
import type { SandboxPlan } from '@csc-fleet/executor/sandbox/index';
import { type Weakening, weakenings } from './weakenings.ts';

const [name = '', config = ''] = process.argv.slice(2);
const spoil: ((plan: SandboxPlan) => SandboxPlan) | undefined = weakenings[name as Weakening];
if (spoil === undefined) throw new Error(`there is no weakening ${name}`);

await runExecutor(config, {
  wrapLauncher: (launcher) => ({
    launch: ({ place, ...spec }) =>
      launcher.launch({
        ...spec,
        place: place.kind === 'sandbox' ? { ...place, plan: spoil(place.plan) } : place,
      }),
    close: () => launcher.close(),
  }),
});
