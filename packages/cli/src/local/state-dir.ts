import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where `csc run` remembers which approvals are used up and what it has started: XDG_STATE_HOME, by default
 * ~/.local/state, as the XDG Base Directory Specification says.
 */
export function defaultStateDir(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'csc');
}
