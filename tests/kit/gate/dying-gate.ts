// A gate that is made to be killed at the first offer that it writes down. Arguments: when, and its config file. `unwritten`: the
// offer has left, and what is written of it never gets to the disk; `unsaid`: it is on disk, and nobody has been told.
import { Thread } from '@csc-fleet/common/thread';
import { runGate } from '../../../packages/gate/src/main.ts';
import { Peer } from '../../../packages/gate/src/schedule/peers.ts';
import type { StoreCall } from '../../../packages/gate/src/store/store-thread.ts';

const [when, config = ''] = process.argv.slice(2);
const die = (): void => void process.kill(process.pid, 'SIGKILL');

if (when === 'unsaid')
  Peer.prototype.confirm = () => {
    die();
    return true;
  };
else {
  const { ask } = Thread.prototype;
  Thread.prototype.ask = function (what, answer) {
    return (what as StoreCall).method === 'create' ? new Promise(() => {}) : ask.call(this, what, answer);
  };
  const { offerAhead } = Peer.prototype;
  Peer.prototype.offerAhead = function (offer) {
    offerAhead.call(this, offer);
    // By then the host has it, and builds.
    setTimeout(die, 300);
  };
}
void runGate(config);
