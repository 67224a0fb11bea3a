import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** Where csc keeps a user's things, as the XDG Base Directory Specification says. */
interface UserDirectory {
  readonly variable: string;
  /** Below the home directory, where the variable is unset or empty. */
  readonly usual: string;
}

const state: UserDirectory = { variable: 'XDG_STATE_HOME', usual: '.local/state' };
const config: UserDirectory = { variable: 'XDG_CONFIG_HOME', usual: '.config' };
const cache: UserDirectory = { variable: 'XDG_CACHE_HOME', usual: '.cache' };

/** Where `csc run` remembers which approvals are used up and what it has started. */
export function defaultStateDir(env: NodeJS.ProcessEnv): string {
  return placeOf(state, env);
}

/** The folder of what a user keeps. */
export function configDirectory(env: NodeJS.ProcessEnv): string {
  return placeOf(config, env);
}

/** Where csc keeps what it can find out anew. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  return placeOf(cache, env);
}

/**
 * All places that these may have: by the environment, and where the user's next csc looks for them that is started without
 * these variables. The environment's come first.
 */
export function userDirectories(env: NodeJS.ProcessEnv): Record<'state' | 'config' | 'cache', string[]> {
  const homes = [homedir(), accountHome()];
  const placesOf = (directory: UserDirectory): string[] => [
    ...new Set([placeOf(directory, env), ...homes.map((home) => join(home, directory.usual, 'csc'))]),
  ];
  return { state: placesOf(state), config: placesOf(config), cache: placesOf(cache) };
}

function placeOf({ variable, usual }: UserDirectory, env: NodeJS.ProcessEnv): string {
  return join(env[variable] || join(homedir(), usual), 'csc');
}

// HOME may be another for one call, too. A user without an account has no other.
function accountHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return homedir();
  }
}
