import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { findProxyUser } from '@csc-fleet/sandbox/host';
import { createBwrapLauncher, type LaunchedProcess, type Launcher } from '@csc-fleet/sandbox/launch';
import { toRunFacts } from '@csc-fleet/sandbox/plan';
import { createSandboxRunner, openTestGroups } from '@csc-fleet/test-kit/sandbox/runner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEgress, type Egress } from './open-egress.ts';
import { type ProxyWorkshop, proxyLimits } from './proxy-process.ts';

// Proxies in processes of their own, for jobs that do nothing but wait in their network to be entered.
let workshop: ProxyWorkshop;
let launcher: Launcher;
let server: Server;
let target: string;
const proxies: LaunchedProcess[] = [];

beforeAll(async () => {
  const facts = await probeHost({ runAs: { auto: true } });
  launcher = createBwrapLauncher({ facts, cgroups: openTestGroups() });
  const watched: Launcher = {
    ...launcher,
    launch(spec) {
      const launched = launcher.launch(spec);
      proxies.push(launched);
      return launched;
    },
  };
  workshop = { facts, launcher: watched, user: findProxyUser(facts.jobUsers), limits: proxyLimits };
  server = createServer((request, response) => {
    if (request.url === '/never') return;
    response.end(`answer ${request.url}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  target = `localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  launcher.close();
});

/** A job that goes on asking, and says of each request what came of it. */
async function startJob(): Promise<{ readonly job: LaunchedProcess; ask(): Promise<string> }> {
  const program = `
import urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:3128"}))
for at in range(1000):
  try: print(opener.open("http://${target}/%d" % at, timeout=20).read().decode(), flush=True)
  except Exception as error: print("ended", type(error).__name__, flush=True)
`;
  const runner = createSandboxRunner(toRunFacts(workshop.facts), launcher);
  const job = await runner.launch([['python3', '-c', program]], {}, true);
  const lines = linesOf(job);
  return { job, ask: async () => (await lines.next()).value ?? '' };
}

async function* linesOf(job: LaunchedProcess): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of job.stdout) {
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

async function openFor(job: LaunchedProcess, faults: unknown[] = []): Promise<Egress> {
  return await createEgress(workshop)(job.inits, [[target]], (error) => faults.push(error));
}

describe('the process of a proxy', () => {
  it('ends its connections with it and nothing else, and another takes its place, whenever it is killed', async () => {
    const { job, ask } = await startJob();
    const faults: unknown[] = [];
    const egress = await openFor(job, faults);
    job.release();
    expect(await ask()).toBe('answer /0');
    for (let killed = 0; killed < 3; killed += 1) {
      const [init] = (await proxies.at(-1)?.inits) ?? [];
      if (init === undefined) throw new Error('no proxy is there');
      process.kill(init, 'SIGKILL');
      for (let said = ''; !said.startsWith('answer') || faults.length <= killed; ) said = await ask();
    }
    job.terminate(0);
    job.stderr.resume();
    await job.exited;
    const { allowed, hosts } = await egress.finish();
    expect(allowed).toBeGreaterThanOrEqual(4);
    expect(hosts).toContainEqual({
      host: '(proxy)',
      port: 0,
      verdict: 'denied',
      reason: 'proxy_lost',
      count: 3,
    });
    expect(faults).toHaveLength(3);
  });
});
