import { readFileSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import type { JobUser } from './host-facts.ts';

/** Whom jobs run as: an account's name or ids. Absent: `csc-job` where there is such an account, else 65534. */
export type RunAs = string | { readonly uid: number; readonly gid: number };

const defaultAccount = 'csc-job';
const nobody: JobUser = { uid: 65534, gid: 65534, name: 'nobody' };

/**
 * The host user of the jobs. An executor that is not root can run them as itself only. Throws SANDBOX_UNAVAILABLE for
 * root: as the host's uid 0, even without capabilities, a job may write hundreds of files below /proc.
 */
export function resolveJobUser(runAs: RunAs | undefined, own: JobUser, accounts = readAccounts()): JobUser {
  const wanted = runAs === undefined ? undefined : findUser(runAs, accounts);
  if (own.uid !== 0) {
    if (wanted === undefined || wanted.uid === own.uid) return own;
    throw unavailable(
      `jobs cannot run as uid ${wanted.uid}: the executor is not root; start it as that user instead`,
    );
  }
  const user = wanted ?? accounts.find(({ name }) => name === defaultAccount) ?? nobody;
  if (user.uid !== 0 && user.gid !== 0) return user;
  throw unavailable('jobs cannot run as root or in its group; set run_as to an account made for them');
}

function findUser(runAs: RunAs, accounts: readonly JobUser[]): JobUser {
  if (typeof runAs !== 'string')
    return accounts.find((account) => account.uid === runAs.uid && account.gid === runAs.gid) ?? runAs;
  const account = accounts.find(({ name }) => name === runAs);
  if (account !== undefined) return account;
  throw unavailable(`run_as names ${runAs}, which is not in /etc/passwd; give its uid and gid instead`);
}

function readAccounts(): JobUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .flatMap(([name, , uid, gid]) =>
      name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [],
    );
}

function unavailable(message: string): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', message);
}
