import * as z from 'zod';
import { count, integer } from './values.ts';

const mebibyte = 1_048_576;

// Less than the least of each, and no sandbox could be built; a tmpfs of size 0 would even have no limit (tmpfs(5)).
const runLimitMembers = {
  memory_bytes: integer({ min: 16 * mebibyte }).meta({
    description: 'Of all processes together, with what they keep in /tmp.',
  }),
  processes: integer({ min: 8 }).meta({ description: 'Processes and threads at a time.' }),
  cpu_millis: integer({ min: 10 }).meta({ description: 'Processor time; 1000 is one core.' }),
  open_files: integer({ min: 16 }).meta({ description: 'At a time, of one process.' }),
  file_bytes: count.meta({ description: 'The largest single file that may be written.' }),
  tmp_bytes: integer({ min: 4096 }).meta({ description: 'Of /tmp.' }),
  write_bytes: count.meta({ description: 'On the disk, below all write scopes together.' }),
  write_files: count.meta({
    description: 'Files, directories, symlinks and others made or changed below all write scopes together.',
  }),
  artifact_bytes: count.meta({ description: 'Of expected outputs, hashed after the run.' }),
  artifact_sec: count.meta({ description: 'Seconds that hashing them may take.' }),
};

const outputLimitMembers = {
  stdout_bytes: count.meta({ description: 'Captured of the whole contract; the rest is dropped.' }),
  stderr_bytes: count.meta({ description: 'Captured of the whole contract; the rest is dropped.' }),
};

/** What a run may use up at most, as policies say it; what is absent, the policy does not limit (protocol §9). */
export const limitsSchema = z.strictObject({ ...runLimitMembers, ...outputLimitMembers }).exactPartial();

/** What one execution may use up at most, as its ticket says it; what is absent, the host decides. */
export const grantedLimitsSchema = z.strictObject({
  ...outputLimitMembers,
  ...z.strictObject(runLimitMembers).exactPartial().shape,
});

export type Limits = z.infer<typeof limitsSchema>;
export type GrantedLimits = z.infer<typeof grantedLimitsSchema>;
export type LimitName = keyof Limits;

/** The one list of the limits' names, for policies, tickets and receipts. */
export const limitNames: readonly LimitName[] = limitsSchema.keyof().options;

/** The lower of both for each limit; what either leaves out, the other says. */
export function narrowLimits<T extends Limits>(limits: T, narrower: Limits): T {
  const narrowed: Record<string, number> = { ...limits };
  for (const name of limitNames) {
    const most = narrower[name];
    if (most !== undefined) narrowed[name] = Math.min(limits[name] ?? most, most);
  }
  return narrowed as T;
}
