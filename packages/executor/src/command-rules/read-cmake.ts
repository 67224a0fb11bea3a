import { nothingSeen, type Reader, seenRun } from './look.ts';
import { readEnv } from './read-env.ts';

/** `cmake -E env|time|chdir` runs a program; all else that cmake runs, files name. */
export const readCmake: Reader = (words, surroundings) => {
  const [program, ...rest] = words;
  const at = rest.findIndex(({ text }) => text === '-E');
  const [command, ...operands] = at < 0 ? [] : rest.slice(at + 1);
  if (program === undefined || command === undefined) return nothingSeen;
  if (command.text === 'env') return readEnv([program, ...operands], surroundings);
  if (command.text === 'time') return seenRun(operands);
  return command.text === 'chdir' ? seenRun(operands.slice(1)) : nothingSeen;
};
