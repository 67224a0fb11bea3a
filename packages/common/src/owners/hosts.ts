import * as z from 'zod';
import { networkModes } from '../contract/index.ts';
import type { Parsed } from '../errors/index.ts';
import { identityPattern } from '../policy/index.ts';
import {
  egressHostEntry,
  labelsMember,
  nonEmptyText,
  oneOf,
  uniqueList,
  validate,
  versionMember,
} from '../schema/index.ts';
import { parseStrictYaml } from '../yaml/index.ts';

const absolutePath = z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..');

const hostRule = z.strictObject({
  labels: labelsMember.meta({ description: 'A host that has them all is meant. Empty: every host.' }),
  policies: uniqueList(nonEmptyText, 0)
    .exactOptional()
    .meta({ description: 'The profiles that may run there. Absent: all.' }),
  principals: z
    .array(identityPattern)
    .exactOptional()
    .meta({ description: 'Who may have something run there. Absent: whoever is bound.' }),
  commands: uniqueList(nonEmptyText, 0)
    .exactOptional()
    .meta({ description: 'Programs by argv[0]. Absent: those that the policy allows.' }),
  path_roots: z.array(absolutePath).min(1).default(['/']),
  network: oneOf(networkModes).default('deny'),
  egress_hosts: z.array(egressHostEntry).default([]),
  secrets: uniqueList(nonEmptyText, 0).default([]),
  inline_code: z.boolean().default(false),
  terminal: z
    .union([z.boolean(), z.literal('signed')])
    .exactOptional()
    .meta({
      description:
        'Whether a contract may have a terminal there; signed: where its submitter has signed that. Absent: where its policy grants one.',
    }),
});

/** The rules of hosts.yaml. */
export const hostsSchema = z
  .strictObject({
    hosts_version: versionMember('hosts', 'csc.hosts.v0.1'),
    hosts: z.array(hostRule).meta({
      description:
        'Every rule whose labels a host has bounds it, beside the ceiling in its own config; a host that none means runs nothing.',
    }),
  })
  .meta({ title: 'CSC hosts v0.1', description: 'What hosts may run at most, by their labels.' });

/** What hosts with certain labels may run at most. */
export type HostRule = z.infer<typeof hostRule>;

const maxBytes = 524_288;

/** Reads hosts.yaml. Gives every fault at once. */
export function parseHosts(bytes: Uint8Array): Parsed<z.infer<typeof hostsSchema>> {
  const document = parseStrictYaml(bytes, { maxBytes });
  return document.ok ? validate(hostsSchema, document.value) : document;
}

/** The rules that bound a host with these labels; none: it runs nothing. */
export function rulesFor(hosts: readonly HostRule[], labels: Readonly<Record<string, string>>): HostRule[] {
  return hosts.filter((rule) => hasLabels(labels, rule.labels));
}

/** True where `labels` has all of `wanted`, each with the same value. */
export function hasLabels(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
