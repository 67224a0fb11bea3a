// Executors that speak the link's protocol over mutual TLS and run nothing: what a gate is offered by many hosts, out of one
// process beside it. An offer is accepted, and its receipt comes at once.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@csc-fleet/common/encoding';
import { type ConnectResponse, toMilliseconds } from '@csc-fleet/common/messages';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { channelOptions, ExecutorLinkClient, readChannelCredentials } from '@csc-fleet/common/rpc';
import { toTransport } from '@csc-fleet/test-kit/gate/grpc-calls';
import { ScriptedExecutor, type Transport } from '@csc-fleet/test-kit/gate/scripted-executor';

interface Simulated {
  readonly address: string;
  readonly pki: string;
  readonly names: readonly string[];
  readonly slots: number;
  readonly policySha256: string;
}

// As a host that comes back after a while.
const againMs = 500;

function simulate(
  name: string,
  { address, pki, slots, policySha256 }: Simulated,
  onConnected: () => void,
): void {
  const file = (it: string): string => join(pki, it);
  const tls = { ca: file('ca.pem'), cert: file(`executor-${name}.pem`), key: file(`executor-${name}.key`) };
  const options = { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 };
  const link = toTransport(new ExecutorLinkClient(address, readChannelCredentials(tls), options));
  let beating: NodeJS.Timeout | undefined;
  const hear = ({ message }: ConnectResponse): void => {
    if (message?.$case === 'welcome') {
      clearInterval(beating);
      beating = setInterval(beat, toMilliseconds(message.value.heartbeatInterval) ?? 10_000);
      onConnected();
    } else if (message?.$case === 'offer') {
      executor.say({ $case: 'accepted', value: { executionId: message.value.executionId, notes: [] } });
      executor.sendReceipt(message.value);
    }
  };
  const transport: Transport = {
    ...link,
    link: {
      open: (remote) =>
        link.link.open({
          ...remote,
          send: hear,
          hangUp: () => {
            clearInterval(beating);
            setTimeout(open, againMs);
          },
        }),
    },
  };
  const executor = new ScriptedExecutor(() => transport, {
    name,
    slots,
    clock: systemClock,
    policySha256s: [policySha256],
  });
  const open = (): void => {
    executor.open();
    executor.say({ $case: 'hello', value: executor.hello() });
  };
  const beat = (): void => {
    const value = {
      running: 0,
      chainHeadJson: Buffer.alloc(0),
      wouldRefuse: 0,
      sentAt: undefined,
      shortage: '',
    };
    executor.say({ $case: 'heartbeat', value });
  };
  open();
}

/** Starts so many, each with a certificate of the PKI's own CA; resolves once the gate has taken all of them. */
export async function startSimulated(
  count: number,
  fleet: { readonly address: string; readonly pki: string },
  policySha256: string,
  slots = 4,
): Promise<ChildProcess> {
  const names = Array.from({ length: count }, (_, index) => `sim-${index + 1}`);
  await createDevelopmentPki(fleet.pki, { executors: names });
  const simulated: Simulated = { address: fleet.address, pki: fleet.pki, names, slots, policySha256 };
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(simulated));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', () => reject(new Error('the simulated executors ended before they were connected')));
  });
  return child;
}

async function main(): Promise<void> {
  const simulated = JSON.parse(Buffer.concat(await process.stdin.toArray()).toString()) as Simulated;
  const connected = new Set<string>();
  for (const name of simulated.names)
    simulate(name, simulated, () => {
      connected.add(name);
      if (connected.size === simulated.names.length) process.stdout.write('connected\n');
    });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
