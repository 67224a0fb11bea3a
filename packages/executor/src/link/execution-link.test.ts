import { ConnectRequest } from '@csc-fleet/common/messages';
import { describe, expect, it } from 'vitest';
import type { CommandOutcome } from '../evidence/index.ts';
import type { OutputSpool } from '../output/index.ts';
import type { Deliveries } from './deliver.ts';
import { createExecutionLink } from './execution-link.ts';
import { type LinkMessage, Outbox } from './outbox.ts';

describe('what an execution says', () => {
  // A gate ends the connection of a host that says more: see linkBounds there.
  it('is cut to what a gate takes, whatever names its contract has', () => {
    const said: LinkMessage[] = [];
    const outbox = new Outbox();
    outbox.open(({ message }) => message !== undefined && said.push(message));
    const deliveries = { upload: () => undefined } as unknown as Deliveries;
    const link = createExecutionLink('e', outbox, deliveries);
    const long = `${'x'.repeat(3999)}\u{1f600}${'y'.repeat(100_000)}`;
    const nothing = { sha256: '', length: 0, truncated: false };
    const outcome: CommandOutcome = {
      commandId: 'c',
      argvSha256: '',
      ended: 'refused',
      error: long,
      output: { stdout: nothing, stderr: nothing },
    };
    link.accepted(Array(100).fill(long), {} as OutputSpool);
    link.commandExited(outcome);
    outbox.post({ $case: 'draining', value: {} });
    const [accepted, exited] = said;
    const notes = accepted?.$case === 'accepted' ? accepted.value.notes : [];
    expect(notes).toHaveLength(64);
    expect(notes.every((it) => it.length <= 4000 && it.isWellFormed())).toBe(true);
    const error = exited?.$case === 'exited' ? exited.value.result?.error : undefined;
    expect(error).toMatch(/^x{3999}…$/);
    for (const message of said)
      expect(ConnectRequest.encode({ message }).finish().length).toBeLessThan(1 << 20);
  });
});
