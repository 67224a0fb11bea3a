import { describe, expect, it } from 'vitest';
import { ConnectRequest } from '../gen/csc/link/v1/link.ts';
import {
  ApprovalsService,
  CheckRequest,
  ExecutorLinkService,
  FleetService,
  GateService,
  ListExecutorsResponse,
  maxMessageBytes,
} from './index.ts';

const methods = Object.entries({ GateService, FleetService, ApprovalsService, ExecutorLinkService }).flatMap(
  ([service, it]) => Object.entries(it).map(([name, method]) => [`${service}.${name}`, method] as const),
);
const tooLarge = expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' });

describe('a message of more fields than are due', () => {
  // A field that no message has, so that each is the same for all of them.
  const unknown = Buffer.from([0x7a, 0]);

  it.each(methods)('is not unpacked: %s', (name, { requestDeserialize, responseDeserialize }) => {
    const bytes = Buffer.alloc(maxMessageBytes, unknown);
    expect(() => responseDeserialize(bytes)).toThrow(tooLarge);
    // Of which nothing but its frames takes memory.
    if (name === 'ExecutorLinkService.pushOutput') return;
    expect(() => requestDeserialize(bytes)).toThrow(tooLarge);
  });

  it('is so with those of messages in it', () => {
    const frame = Buffer.from([0x12, 2, 0x1a, 0]);
    expect(GateService.sendInput.requestDeserialize(Buffer.alloc(4 * 64, frame)).frames).toHaveLength(64);
    expect(() => GateService.sendInput.requestDeserialize(Buffer.alloc(4 * 2049, frame))).toThrow(tooLarge);
  });
});

describe('as many fields as are due', () => {
  it('are unpacked of a contract with as many arguments as there may be', () => {
    const pipeline = { segments: Array(10).fill({ argv: Array(200).fill('argument') }) };
    const command = {
      id: 'c',
      cwd: '/',
      readPaths: [],
      writePaths: [],
      network: 'deny',
      envAllow: [],
      secretRefs: [],
      timeoutSec: 1,
      proposedEffectType: 'observe',
      form: { $case: 'pipeline' as const, value: pipeline },
    };
    const bytes = Buffer.from(
      CheckRequest.encode(
        CheckRequest.fromPartial({
          contract: { $case: 'typedContract', value: { commands: Array(20).fill(command) } },
        }),
      ).finish(),
    );
    expect(bytes.length).toBeGreaterThan(256 * 1024);
    expect(GateService.check.requestDeserialize(bytes)).toEqual(CheckRequest.decode(bytes));
  });

  it('are unpacked of a host with as many executions and policies', () => {
    const hash = 'a'.repeat(64);
    const value = {
      executionIds: Array(10_000).fill(crypto.randomUUID()),
      receiptlessIds: Array(10_000).fill('e'),
      policySha256s: Array(1000).fill(hash),
      policies: Array(1000).fill({ name: 'p', sha256: hash }),
    };
    const hello = ConnectRequest.fromPartial({ message: { $case: 'hello', value } });
    const bytes = Buffer.from(ConnectRequest.encode(hello).finish());
    expect(ExecutorLinkService.connect.requestDeserialize(bytes)).toEqual(hello);
  });

  it('are unpacked of a thousand hosts with their policies', () => {
    const policies = Array(50).fill({ name: 'tests', sha256: 'a'.repeat(64) });
    const labels = { os: 'linux', arch: 'amd64' };
    const executors = Array(1000).fill({ executorId: 'build', labels, policies });
    const bytes = Buffer.from(
      ListExecutorsResponse.encode(ListExecutorsResponse.fromPartial({ executors })).finish(),
    );
    expect(FleetService.listExecutors.responseDeserialize(bytes).executors).toHaveLength(1000);
  });
});
