import { networkModes } from '../contract/index.ts';
import { isCoveredBy } from '../paths/index.ts';
import type { Policy } from '../policy/index.ts';
import { limitNames } from '../schema/index.ts';
import { type Doubt, missingFrom } from './doubt.ts';
import { findEgressDoubts } from './egress.ts';

/** What the members that are sets, prefixes and bounds allow more: each is asked about by itself, whatever the others say. */
export function findMemberDoubts(old: Policy, now: Policy): Doubt[] {
  return [
    ...missingFrom(old.allowed_risk_classes, now.allowed_risk_classes).map((it) => ({
      about: `allowed_risk_classes ${it}`,
      tries: [{ contract: { risk_class: it } }],
    })),
    ...missingFrom(old.allowed_effect_types, now.allowed_effect_types).map((it) => ({
      about: `allowed_effect_types ${it}`,
      tries: [{ command: { proposed_effect_type: it } }],
    })),
    ...when(now.max_timeout_sec > old.max_timeout_sec, () => ({
      about: `max_timeout_sec ${now.max_timeout_sec}`,
      tries: [{ command: { timeout_sec: now.max_timeout_sec } }],
    })),
    ...when(networkModes.indexOf(now.network) > networkModes.indexOf(old.network), () => ({
      about: `network ${now.network}`,
      tries: [{ command: { network: now.network } }],
    })),
    ...uncovered(old.allowed_cwd_prefixes, now.allowed_cwd_prefixes).map((it) => ({
      about: `allowed_cwd_prefixes ${it}`,
      tries: [{ command: { cwd: it } }],
    })),
    ...uncovered(old.allowed_read_prefixes, now.allowed_read_prefixes).map((it) => ({
      about: `allowed_read_prefixes ${it}`,
      tries: [{ command: { read_paths: [it] } }],
    })),
    ...uncovered(writable(old), writable(now)).map((it) => ({
      about: `allowed_write_prefixes ${it}`,
      tries: [{ command: { write_paths: [it] } }],
    })),
    ...namesBeyond(secretNames(old), secretNames(now)).map((it) => ({
      about: it.isAny ? 'allow_secret_refs: any name' : `allowed_secret_names ${it.name}`,
      tries: [{ command: { secret_refs: [it.name] } }],
    })),
    ...when(now.terminal !== undefined && old.terminal === undefined, () => ({
      about: 'terminal',
      tries: [{ asked: { terminal: true } }],
    })),
    ...findGrants(old, now),
    ...findEgressDoubts(old, now),
  ];
}

/** What a run gets more by it though the decision is the same. */
function findGrants(old: Policy, now: Policy): Doubt[] {
  const grants = [
    ...namesBeyond(old.allowed_env, now.allowed_env).map(({ name, isAny }) => ({
      about: isAny ? 'no allowed_env: any name' : `allowed_env ${name}`,
      gives: `the variable ${name}`,
      tries: [{ command: { env_allow: [name] } }],
    })),
    ...Object.entries(now.set_env ?? {}).flatMap(([name, value]) =>
      when(old.set_env?.[name] !== value, () =>
        grant(`set_env ${name}`, `the variable ${name} as ${JSON.stringify(value)}`),
      ),
    ),
    // What a profile sets may be what turns hooks off: without it, the command has its own or none.
    ...Object.entries(old.set_env ?? {}).flatMap(([name, value]) =>
      when(now.set_env?.[name] === undefined, () =>
        grant(
          `no set_env ${name}`,
          `commands for which ${name} is not set to ${JSON.stringify(value)} any more`,
        ),
      ),
    ),
    ...limitNames.flatMap((name) => {
      const [before, after] = [old.limits?.[name], now.limits?.[name]];
      const isMore = before !== undefined && (after === undefined || after > before);
      return when(isMore, () =>
        grant(`limits.${name}`, `${name} ${after ?? 'as far as the host lets it'}, not ${before}`),
      );
    }),
    ...when(old.umask !== now.umask && (octal(old.umask, 0o022) & ~octal(now.umask, 0o002)) !== 0, () =>
      grant('umask', `files of a mode that the old umask ${old.umask ?? 'of the host'} takes away`),
    ),
    ...when(old.require_outputs === true && now.require_outputs !== true, () =>
      grant('require_outputs', 'success without its expected outputs'),
    ),
    ...Object.entries(old.hosts ?? {}).flatMap(([label, value]) =>
      when(now.hosts?.[label] !== value, () =>
        grant(`hosts.${label}`, `hosts without the label ${label}=${value}`),
      ),
    ),
    ...when(old.binding === 'host' && now.binding !== 'host', () =>
      grant('binding', 'any host, under a submission that names none'),
    ),
    ...when(old.binding === undefined && now.binding === 'any' && mayNeedBinding(now), () => ({
      about: 'binding any',
      gives: 'any host for what uses secrets or deploys, under a submission that names none',
      tries: [
        { command: { secret_refs: [now.allowed_secret_names?.[0] ?? 'ANY'] } },
        { command: { proposed_effect_type: 'deploy' } },
      ],
    })),
  ];
  const [before, after] = [old.terminal, now.terminal];
  if (before === undefined || after === undefined) return grants;
  return [
    ...grants,
    ...when(before.record_input === true && after.record_input !== true, () => ({
      ...grant('terminal.record_input', 'a terminal whose recording has not what is typed'),
      tries: [{ asked: { terminal: true } }],
    })),
    ...typedAtMost.flatMap(([name, usual]) => {
      const most = before[name] ?? usual;
      const more = after[name] ?? usual;
      return when(more > most, () => ({
        ...grant(`terminal.${name}`, `a terminal with ${name} ${more}, not ${most}`),
        tries: [{ asked: { terminal: true } }],
      }));
    }),
  ];
}

// Absent, as the schema says.
const typedAtMost = [
  ['input_bytes', 10_000_000],
  ['input_bytes_per_sec', 20_000],
] as const;

// What must name its host where no policy says so (mustBeBound).
function mayNeedBinding({ allow_secret_refs: secrets, allowed_effect_types: types }: Policy): boolean {
  return secrets || types.includes('deploy');
}

function grant(about: string, gives: string): Doubt {
  return { about, gives, tries: [{}] };
}

function when(isSo: boolean, make: () => Doubt): Doubt[] {
  return isSo ? [make()] : [];
}

/** @param absent of what hosts take by themselves, 0022 or 0002, the one that proves less */
function octal(umask: string | undefined, absent: number): number {
  return umask === undefined ? absent : Number.parseInt(umask, 8);
}

/** The prefixes that none of the others covers: each is itself a path that these allow and those do not. */
function uncovered(others: readonly string[], prefixes: readonly string[]): string[] {
  return prefixes.filter((it) => !isCoveredBy(it, others));
}

function writable({
  allowed_write_prefixes: prefixes,
  require_write_paths_empty: none,
}: Policy): readonly string[] {
  return none ? [] : prefixes;
}

function secretNames({
  allow_secret_refs: any,
  allowed_secret_names: names,
}: Policy): readonly string[] | undefined {
  return any ? names : [];
}

interface NameBeyond {
  readonly name: string;
  /** It stands for whatever name there is. */
  readonly isAny: boolean;
}

/** Names of which undefined is any. */
function namesBeyond(old: readonly string[] | undefined, now: readonly string[] | undefined): NameBeyond[] {
  if (old === undefined) return [];
  if (now !== undefined) return missingFrom(old, now).map((name) => ({ name, isAny: false }));
  let name = 'ANY_OTHER';
  while (old.includes(name)) name += '_';
  return [{ name, isAny: true }];
}
