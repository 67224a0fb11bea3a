import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { CscError } from '../errors/index.ts';

/** Where csc keeps a user's things, as the XDG Base Directory Specification says. */
interface UserDirectory {
  readonly variable: string;
  /** Below the home directory, where the variable is unset or empty. */
  readonly usual: string;
}

const state: UserDirectory = { variable: 'XDG_STATE_HOME', usual: '.local/state' };
const config: UserDirectory = { variable: 'XDG_CONFIG_HOME', usual: '.config' };
const cache: UserDirectory = { variable: 'XDG_CACHE_HOME', usual: '.cache' };

/**
 * Where `csc run` remembers which approvals are used up and what it has started. Throws CONFIG_INVALID where there is
 * no such place.
 */
export function defaultStateDir(env: NodeJS.ProcessEnv): string {
  return placeOf(state, env);
}

/** The folder of what a user keeps. Throws as `defaultStateDir`. */
export function configDirectory(env: NodeJS.ProcessEnv): string {
  return placeOf(config, env);
}

/**
 * All places that these may have: by the environment, and where the user's next csc looks for them that is started without
 * these variables. The environment's come first. None of a user who has no home and no such variable.
 */
export function userDirectories(env: NodeJS.ProcessEnv): Record<'state' | 'config' | 'cache', string[]> {
  const homes = [ownHome(), accountHome()].filter((home) => home !== undefined);
  const placesOf = ({ variable, usual }: UserDirectory): string[] => {
    const named = env[variable] ? [env[variable]] : [];
    return [...new Set([...named, ...homes.map((home) => join(home, usual))].map((it) => join(it, 'csc')))];
  };
  return { state: placesOf(state), config: placesOf(config), cache: placesOf(cache) };
}

function placeOf({ variable, usual }: UserDirectory, env: NodeJS.ProcessEnv): string {
  if (env[variable]) return join(env[variable], 'csc');
  const home = ownHome();
  if (home !== undefined) return join(home, usual, 'csc');
  const message = `this user has no home directory to keep something in: set HOME, or ${variable}`;
  throw new CscError('CONFIG_INVALID', message);
}

// As HOME has it, or the account. Who has neither has none.
function ownHome(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

// HOME may be another for one call.
function accountHome(): string | undefined {
  try {
    return userInfo().homedir;
  } catch {
    return undefined;
  }
}
