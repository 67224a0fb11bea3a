// A gate that is made to be killed at the first offer that it writes down. Arguments: when, and its config file. `unwritten`: the
// offer has left, and nothing is written of it; `unsynced`: it is written, and not put on disk; `unsaid`: it is on disk, and
// nobody has been told.
import { WriteAheadLog } from '@csc-fleet/common/database';
import { Executions } from '../../../packages/gate/src/execution/executions.ts';
import { runGate } from '../../../packages/gate/src/main.ts';
import { Peer } from '../../../packages/gate/src/schedule/peer.ts';

const [when, config = ''] = process.argv.slice(2);
const die = (): void => void process.kill(process.pid, 'SIGKILL');
const never = (): Promise<never> => new Promise(() => {});

if (when === 'unsaid')
  Peer.prototype.confirm = () => {
    die();
    return true;
  };
else {
  if (when === 'unwritten') Executions.prototype.create = never;
  const { offerAhead } = Peer.prototype;
  Peer.prototype.offerAhead = function (offer) {
    if (when === 'unsynced') WriteAheadLog.prototype.sync = never;
    offerAhead.call(this, offer);
    // By then the host has it, and builds.
    setTimeout(die, 300);
  };
}
void runGate(config);
