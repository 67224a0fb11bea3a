// `csc executor --config FILE`, but for what becomes of the first redemption or receipt that it has committed and that
// is not on disk. Arguments: of what (`redeem`, `finish`), its config file. A redemption is refused by the disk; with a
// receipt the process is killed.
import { WriteAheadLog } from '@csc-fleet/common/database';
import { runExecutor } from '@csc-fleet/executor/main';
import { operations } from '../../../packages/executor/src/journal/operations.ts';

const [what, config = ''] = process.argv.slice(2);
if (what !== 'redeem' && what !== 'finish') throw new Error('of what?');

const end = {
  redeem: (): Promise<never> => Promise.reject(Object.assign(new Error('EIO, fdatasync'), { code: 'EIO' })),
  finish: (): Promise<never> => {
    process.kill(process.pid, 'SIGKILL');
    return new Promise(() => {});
  },
};
const original: (...given: never[]) => unknown = operations[what];
Object.assign(operations, {
  [what]: (...given: never[]) => {
    WriteAheadLog.prototype.sync = end[what];
    return original(...given);
  },
});
void runExecutor(config);
