import { loadMain } from './load-main.ts';
import type { WarmCall } from './warm-pool.ts';

// A csc that stays: runs one command line after another as its parent asks for them, each with a working directory and
// an environment of its own, on the same two pipes. What loads once, loads once.
const main = loadMain();

async function answer({ args, env, cwd, mark }: WarmCall): Promise<void> {
  process.chdir(cwd);
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
  process.exitCode = undefined;
  await (await main)(args);
  // A command adds its own, as it is the only one of its process.
  process.stderr.removeAllListeners('error');
  process.stderr.write(`${mark}0\n`);
  process.stdout.write(`${mark}${process.exitCode ?? 0}\n`);
}

process.on('message', (call) => void answer(call as WarmCall));
process.on('disconnect', () => process.exit(0));
