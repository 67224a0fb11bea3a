import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import type { Command } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';

import { grantedVariables } from '@csc-fleet/common/policy';
import { describeLocal, expandDeclared } from '@csc-fleet/sandbox/plan';

import { type Environment, pickVariables, umaskOf, type Workplace } from './workplace.ts';

/** What goes with everything that local mode does. */
export const localModeNote =
  'LOCAL MODE: this executor has no sandbox. Commands run with all rights of its user; only the policy limits them.';

/** Every command on the host itself: for a workstation that has no sandbox to offer. */
export function createLocalWorkplace(environment: Environment): Workplace {
  return {
    mode: 'local',
    notes: [localModeNote],
    furnish(command, { policy }) {
      checkLocal(command);
      const granted = {
        ...pickVariables(environment, grantedVariables(policy, command.env_allow)),
        ...policy.set_env,
      };
      return {
        launchIn: {
          kind: 'local',
          cwd: command.cwd,
          environment: { ...localEnvironment(), ...granted },
          umask: umaskOf(policy) ?? 0o022,
        },
        report: describeLocal(),
        writableRoots: command.write_paths.flatMap(resolveRoot),
        notes: [],
        closed: [],
        hints: [],
        missing: [],
        close: () => {},
      };
    },
    // A command on the host itself makes its own.
    makeMissing: () => ({ takeBackUnwritten: () => undefined }),
  };
}

// Both need a sandbox: the one to have no other way out, the other to be gone with it.
function checkLocal({ network, secret_refs: secrets }: Command): void {
  if (network !== 'allowlisted' && secrets.length === 0) return;
  const what = network === 'allowlisted' ? 'an allowlisted network' : 'secrets';
  throw new CscError('SANDBOX_UNAVAILABLE', `local mode has no sandbox, and so no ${what} to give`, {
    isLasting: true,
  });
}

function localEnvironment(): Environment {
  return { HOME: homedir(), LANG: 'C.UTF-8', PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin' };
}

function resolveRoot(declared: string): string[] {
  return expandDeclared(declared).map(realPath);
}

// What is not there yet is not a symlink either.
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
