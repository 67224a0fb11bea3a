import { createKeyRing, parseKeyRing } from '@csc-fleet/common/crypto';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { openTicket } from '@csc-fleet/common/evidence';
import { ticketFromJson } from '@csc-fleet/common/ticket';
import { changed, type FixtureFile, readFixture, testCases } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface Opening {
  readonly says: string;
  readonly ticket: JsonObject;
  readonly now: string;
  readonly audience: string;
  readonly contract_sha256: string;
  /** What the key ring says of the gate's key beside the key itself. */
  readonly keys?: JsonObject;
  /** Of the refusal; absent where the ticket opens. */
  readonly code?: string;
}

const file = readFixture<FixtureFile & { keys: JsonObject[]; opens: Opening[] }>('tickets.json');

describe('ExecutionTicket, member by member (protocol §9)', () => {
  testCases(file.cases, (fixture) => ticketFromJson(changed(file.base, fixture)));
});

describe('openTicket (protocol §9)', () => {
  const open = ({ ticket, now, audience, contract_sha256: contractSha256, keys }: Opening) => {
    const text = JSON.stringify({ keys: file.keys.map((key) => ({ ...key, ...keys })) });
    const ring = createKeyRing(orThrow(parseKeyRing(Buffer.from(text)), 'KEY_INVALID', 'the fixture'));
    const context = { keys: ring, audience, contractSha256, now: new Date(now) };
    return () => openTicket(Buffer.from(JSON.stringify(ticket)), context);
  };

  it.each(file.opens.filter(({ code }) => code === undefined))('opens: $says', (fixture) => {
    expect(open(fixture)()).toEqual(fixture.ticket);
  });

  it.each(file.opens.filter(({ code }) => code !== undefined))('refuses: $says', (fixture) => {
    expect(open(fixture)).toThrow(expect.objectContaining({ code: fixture.code }));
  });

  it('refuses what is no ticket, and says what is wrong with it', () => {
    const bytes = Buffer.from('{"ticket_version":"csc.receipt.v0.1"}');
    const context = { keys: createKeyRing([]), audience: 'x', contractSha256: '', now: new Date() };
    expect(() => openTicket(bytes, context)).toThrow(
      expect.objectContaining({ code: 'TICKET_INVALID', faults: expect.arrayContaining([]) }),
    );
  });
});
