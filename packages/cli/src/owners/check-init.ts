import { existsSync } from 'node:fs';
import { checkFiles } from '@csc-fleet/common/policy-repository';
import { checkLocalRepository } from './repository-keys.ts';
import { bindingsFor, bindingsWith, type SubmitterEntry } from './submitters.ts';

/** What `csc policy init --local` is to make. */
export interface LocalInit {
  readonly dir: string;
  /** The owners' files by their names there. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The file of bindings that a submitter is added to, which need not be there. */
  readonly bindings: string;
  /** The names of the profiles that a submitter may use where there are no bindings. */
  readonly profiles: readonly string[];
  /**
   * Who is to submit: with a key that stands in for the one that is yet to be made, or that is there. Absent: nobody is
   * added.
   */
  readonly submitter?: SubmitterEntry;
}

/** Throws what would refuse it half-way, before a key is made or a file is changed. */
export function checkLocalInit({ dir, files, bindings, profiles, submitter }: LocalInit): void {
  checkLocalRepository(dir);
  const planned = new Map(files);
  if (submitter !== undefined) {
    const made = existsSync(bindings) ? bindingsWith(bindings, submitter) : bindingsFor(submitter, profiles);
    planned.set('bindings.yaml', made);
  }
  if (planned.size > 0) checkFiles(dir, planned);
}
