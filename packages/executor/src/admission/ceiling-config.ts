import { camelKeys } from '@csc-fleet/common/config';
import { networkModes } from '@csc-fleet/common/contract';
import { identityPattern } from '@csc-fleet/common/policy';
import { egressHostEntry } from '@csc-fleet/common/schema';
import * as z from 'zod';
import { defaultCeiling } from './ceiling.ts';

const absolutePath = z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..');

/** The `ceiling` of an executor's config, as a HostCeiling. What it leaves out is `defaultCeiling`'s. */
export const ceilingConfig = z
  .strictObject({
    path_roots: z
      .array(absolutePath)
      .min(1)
      .default([...defaultCeiling.pathRoots]),
    network: z.enum(networkModes).default(defaultCeiling.network),
    egress_hosts: z.array(egressHostEntry).default([]),
    secrets: z.array(z.string().min(1)).default([]),
    commands: z.array(z.string().min(1)).exactOptional(),
    principals: z.array(identityPattern).exactOptional(),
    inline_code: z.boolean().default(defaultCeiling.inlineCode),
    unix_sockets: z.enum(['unshared', 'deny']).default(defaultCeiling.unixSockets),
  })
  .prefault({})
  .transform(camelKeys);
