import { CscError } from '@csc-fleet/common/errors';
import {
  createAllowList,
  createEgressProxy,
  type EgressSummary,
  listenInNamespace,
  proxyPort,
} from './egress/index.ts';

/** The one way out of a command's sandbox. */
export interface Egress {
  /** Closes it and says what was asked of it. */
  finish(): Promise<EgressSummary>;
}

/**
 * Opens the way out while the command is still held: a proxy of this process, which listens in the network namespace of
 * each of its sandboxes. Throws SANDBOX_UNAVAILABLE; nothing stays open then.
 * @param hosts lists that must all name where a request goes
 */
export async function openEgress(
  inits: Promise<readonly number[]>,
  hosts: readonly (readonly string[])[],
): Promise<Egress> {
  const proxy = createEgressProxy({ allow: createAllowList(hosts) });
  try {
    const pids = await inits;
    if (pids.length === 0) throw new CscError('SANDBOX_UNAVAILABLE', 'its sandbox was not built');
    const servers = await Promise.all(pids.map((pid) => listenInNamespace({ pid, port: proxyPort })));
    for (const server of servers) proxy.serve(server);
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return {
    async finish() {
      await proxy.close();
      return proxy.summary();
    },
  };
}
