import { type Clock, sha256Hex } from '@csc-fleet/common/encoding';
import { AuditRecord } from '@csc-fleet/common/messages';
import { describeFreeze, type Revocation } from '@csc-fleet/common/owners';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';
import { type AuditKind, auditOfOwners } from '../execution/audit.ts';
import type { Owners } from '../owners/index.ts';
import type { Store } from '../store/store.ts';
import type { NewAudit } from '../store/tables.ts';

export interface OwnersChangePorts {
  readonly store: Pick<Store, 'lastOfOwners' | 'addAudit'>;
  readonly policies: Pick<PolicySet, 'all'>;
  readonly bindings: Bindings;
  readonly owners: Pick<Owners, 'freeze' | 'revoked' | 'version'>;
  readonly clock: Clock;
}

type Told = Parameters<typeof auditOfOwners>[1];

const mostNamed = 8;

/**
 * Writes down what the owners say now where it is not what was written down last, also by a gate that has ended since. To
 * be called at the start and whenever they may have said something else, one call after the other. Throws
 * STORE_UNAVAILABLE.
 */
export async function auditOwners(ports: OwnersChangePorts): Promise<void> {
  const rows: NewAudit[] = [];
  for (const told of tellAll(ports)) {
    const last = await ports.store.lastOfOwners(told.kind);
    if (last === undefined ? told.outcome === 'none' : saysTheSame(AuditRecord.decode(last.record), told))
      continue;
    rows.push(auditOfOwners(ports.clock.now(), told));
  }
  if (rows.length > 0) await ports.store.addAudit(rows);
}

function tellAll({ policies, bindings, owners }: OwnersChangePorts): Told[] {
  const versions = policies.all().map(({ policy: { name }, sha256 }) => ({ name, sha256 }));
  const freeze = owners.freeze();
  const revoked = owners.revoked();
  return [
    {
      ...tell('policies.changed', 'in_force', `bindings ${digest(bindings)}`, versions),
      ...versionOf(owners),
    },
    tell(
      'fleet.freeze_changed',
      freeze === undefined ? 'none' : 'frozen',
      freeze === undefined ? 'nothing is frozen' : describeFreeze(freeze),
    ),
    tell('revocations.changed', revoked.length === 0 ? 'none' : 'revoked', describeRevoked(revoked)),
  ];
}

// Not part of what has changed: a version may come of a freeze alone.
function versionOf({ version }: Pick<Owners, 'version'>): Pick<Told, 'policyVersion'> {
  const policyVersion = version();
  return policyVersion === undefined ? {} : { policyVersion };
}

function tell(
  kind: AuditKind,
  outcome: string,
  message: string,
  policies: AuditRecord['policies'] = [],
): Told {
  return { kind, outcome, message: message.slice(0, 2048), policies };
}

function describeRevoked(revoked: readonly Revocation[]): string {
  if (revoked.length === 0) return 'nothing is revoked';
  const named = revoked.slice(0, mostNamed).map(({ kind, id }) => `${kind} ${id.slice(0, 128)}`);
  const more = revoked.length > mostNamed ? ', and more' : '';
  return `${revoked.length} revoked (${digest(revoked)}): ${named.join(', ')}${more}`;
}

function digest(value: unknown): string {
  return sha256Hex(JSON.stringify(value)).slice(0, 16);
}

function saysTheSame(last: AuditRecord, told: Told): boolean {
  const said = (it: Told | AuditRecord): string =>
    JSON.stringify([it.outcome, it.message, (it.policies ?? []).map(({ name, sha256 }) => [name, sha256])]);
  return said(last) === said(told);
}
