// Apart from the other bounds, as it brings the library that verifies repositories: who serves no executors over a network,
// such as csc run, does not load it.
import { isServedPath } from '@csc-fleet/common/policy-repository';
import * as z from 'zod';
import { when } from './check-bounds.ts';
import { text } from './members.ts';

/** The same for FetchPolicyFileRequest: no path leads out of what is published. */
export const policyFileBounds = when(() =>
  z.object({
    path: text(300).refine(
      isServedPath,
      'must be metadata/NAME or targets/NAME, as a policy repository is published',
    ),
  }),
);
