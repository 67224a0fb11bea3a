import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

const isRoot = process.getuid?.() === 0;
// Of no account.
const nobodysId = 2_147_480_123;

const program = `
import { defaultStateDir, userDirectories } from ${JSON.stringify(new URL('user-directories.ts', import.meta.url).href)};
const tell = (find) => { try { return find(); } catch (error) { return error.message; } };
console.log(JSON.stringify([tell(() => userDirectories(process.env)), tell(() => defaultStateDir(process.env))]));
`;

function ask(env: NodeJS.ProcessEnv): unknown {
  const user = { uid: nobodysId, gid: nobodysId };
  const args = ['--input-type=module', '-e', program];
  return JSON.parse(execFileSync(process.execPath, args, { ...user, env, cwd: '/', encoding: 'utf8' }));
}

it.runIf(isRoot)('a user of no account has what the environment names, and nothing else', () => {
  const none = { state: [], config: [], cache: [] };
  expect(ask({})).toEqual([none, expect.stringContaining('set HOME, or XDG_STATE_HOME')]);
  expect(ask({ XDG_STATE_HOME: '/s' })).toEqual([{ ...none, state: ['/s/csc'] }, '/s/csc']);
  const atHome = { state: ['/h/.local/state/csc'], config: ['/h/.config/csc'], cache: ['/h/.cache/csc'] };
  expect(ask({ HOME: '/h' })).toEqual([atHome, '/h/.local/state/csc']);
});
