import { isIP } from 'node:net';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_nameConstraints,
  NameConstraints,
} from '@peculiar/asn1-x509';
import { Extension } from './x509.ts';

/** The names that certificates below a CA may have. What is not permitted, no verifier takes from it. */
export interface PermittedNames {
  /** Of the SPIFFE ids. */
  readonly trustDomain: string;
  /** DNS names, each with all below it, and IP addresses, each alone. Empty: no server can be certified. */
  readonly hosts: readonly string[];
}

/**
 * RFC 5280 §4.2.1.10, critical. A kind of name of which nothing is said is not bounded at all: so where no address is
 * permitted, every one is excluded; and of DNS names at least the trust domain's are said.
 */
export function nameConstraints({ trustDomain, hosts }: PermittedNames): Extension {
  const names = hosts.filter((host) => isIP(host) === 0);
  const permitted = [
    // A host, without a dot before it: this one alone, and none below it.
    { uniformResourceIdentifier: trustDomain },
    ...[...names, trustDomain].map((dNSName) => ({ dNSName })),
    ...[4, 6].flatMap((family) => hosts.filter((host) => isIP(host) === family).map(alone)),
    // Mail and other names have no place here.
    { rfc822Name: 'invalid' },
  ];
  const excluded = [4, 6].filter((family) => !hosts.some((host) => isIP(host) === family)).map(everyAddress);
  const value = new NameConstraints({
    permittedSubtrees: toSubtrees(permitted),
    ...(excluded.length === 0 ? {} : { excludedSubtrees: toSubtrees(excluded) }),
  });
  return new Extension(id_ce_nameConstraints, true, AsnConvert.serialize(value));
}

function alone(host: string): Partial<GeneralName> {
  return { iPAddress: isIP(host) === 4 ? `${host}/32` : `${host}/128` };
}

function everyAddress(family: number): Partial<GeneralName> {
  return { iPAddress: family === 4 ? '0.0.0.0/0' : '::/0' };
}

function toSubtrees(names: readonly Partial<GeneralName>[]): GeneralSubtrees {
  return new GeneralSubtrees(names.map((name) => new GeneralSubtree({ base: new GeneralName(name) })));
}
