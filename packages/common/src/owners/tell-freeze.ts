import { describeFreeze, type Freeze } from './revoked.ts';

/** What of a service's log it takes. */
export interface FreezeLog {
  info(fields: object, message: string): void;
  warn(fields: { readonly why: string }, message: string): void;
}

/**
 * Gives what a log is told of a fleet's freeze by: called with each word of the owners, it has a line when they freeze it, freeze
 * it otherwise, or thaw it. Whoever looks for why nothing runs, or why what ran was ended, looks there first.
 */
export function createFreezeTeller(log: FreezeLog): (freeze: Freeze | undefined) => void {
  let told: string | undefined;
  return (freeze) => {
    const said = freeze === undefined ? undefined : `${describeFreeze(freeze)}${endingNote(freeze)}`;
    if (said === told) return;
    told = said;
    if (said === undefined) log.info({}, 'the owners have thawed the fleet: runs are taken again');
    else log.warn({ why: said }, 'THE OWNERS HAVE FROZEN THE FLEET: nothing starts until csc admin thaw');
  };
}

function endingNote({ running }: Freeze): string {
  return running === 'end' ? '; what runs is ended' : '; what runs goes on to its end';
}
