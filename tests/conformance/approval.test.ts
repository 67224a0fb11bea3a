import { approvalFromJson, checkApproval } from '@csc-fleet/common/approval';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import {
  changed,
  type FixtureFile,
  faultPaths,
  readFixture,
  rowsHalfCovered,
} from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface Check {
  readonly says: string;
  readonly change?: JsonObject;
  readonly now: string;
  readonly contract_sha256: string;
  readonly accepted: boolean;
}

const file = readFixture<FixtureFile & { checks: Check[] }>('approvals.json');

describe('ApprovalArtifact, member by member (protocol §6)', () => {
  it.each(file.cases)('$row: $says', (fixture) => {
    const approval = approvalFromJson(changed(file.base, fixture));
    expect(faultPaths(approval)).toEqual([...(fixture.refused ?? [])].sort());
  });

  it('has an accepted and a refused case for every row', () => {
    expect(rowsHalfCovered(file.cases, ({ refused }) => refused !== undefined)).toEqual([]);
  });
});

describe('checkApproval (protocol §6)', () => {
  const check = ({ change = {}, now, contract_sha256: contractSha256 }: Check) => {
    const approval = orThrow(
      approvalFromJson(changed(file.base, { change })),
      'APPROVAL_INVALID',
      'the fixture',
    );
    return () => checkApproval(approval, { contractSha256, now: new Date(now) });
  };

  it.each(file.checks.filter(({ accepted }) => accepted))('accepts: $says', (fixture) => {
    expect(check(fixture)).not.toThrow();
  });

  it.each(file.checks.filter(({ accepted }) => !accepted))('refuses: $says', (fixture) => {
    expect(check(fixture)).toThrow(expect.objectContaining({ code: 'APPROVAL_INVALID' }));
  });
});
