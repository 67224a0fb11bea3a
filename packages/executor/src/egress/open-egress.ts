import { CscError } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/schema';
import {
  createAllowList,
  createEgressProxy,
  type EgressProxy,
  type EgressSummary,
  listenInNamespace,
  proxyPort,
} from './index.ts';

/** The one way out of a command's sandbox. */
export interface Egress {
  /** Closes it and says what was asked of it. */
  finish(): Promise<EgressSummary>;
}

/**
 * Opens the way out while the command is still held: a proxy of this process, which listens in the network namespace of
 * each of its sandboxes. Throws SANDBOX_UNAVAILABLE; nothing stays open then.
 * @param hosts lists that must all name where a request goes
 * @param onFault told of faults of the proxy itself, each of which has cost one connection
 */
export async function openEgress(
  inits: Promise<readonly number[]>,
  hosts: readonly (readonly EgressHost[])[],
  onFault: (error: unknown) => void,
): Promise<Egress> {
  const proxy = createEgressProxy({ allow: createAllowList(hosts), onFault });
  try {
    await listen(proxy, await inits);
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

// All are waited for, whatever becomes of the first: a listener keeps its network namespace alive until it is closed.
async function listen(proxy: EgressProxy, pids: readonly number[]): Promise<void> {
  if (pids.length === 0) throw new CscError('SANDBOX_UNAVAILABLE', 'its sandbox was not built');
  const listening = await Promise.allSettled(
    pids.map((pid) => listenInNamespace({ pid, port: proxyPort }).then((server) => proxy.serve(server))),
  );
  const failed = listening.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
