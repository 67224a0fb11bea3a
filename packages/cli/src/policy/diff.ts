import { isDeepStrictEqual } from 'node:util';
import type { CommandContract } from '@csc-fleet/common/contract';
import {
  describeQuorum,
  type Evaluation,
  evaluate,
  type WantedApprovals,
  wantedApprovals,
} from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import type { Policy, PolicyDocument } from '@csc-fleet/common/policy';
import { exitCodes } from '../action/exit-codes.ts';
import { readPolicyInput } from '../check/decide.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { type CorpusEntry, readCorpus } from './corpus.ts';
import { isFolder, profilesIn } from './profiles.ts';

interface DiffOptions {
  readonly corpus?: string;
  readonly json?: true;
}

/** What stands otherwise in one member of a policy. */
interface MemberChange {
  readonly member: string;
  /** Of a list, or of a member with members, the entries that went; of another, its value. Empty where it was not there. */
  readonly removed: readonly unknown[];
  readonly added: readonly unknown[];
}

/** A contract of the corpus that the two decide differently. */
interface DecisionChange {
  readonly contract: string;
  readonly before: Told;
  readonly after: Told;
}

interface Told {
  readonly decision: Evaluation['verdict'];
  readonly reason_codes: Evaluation['reasonCodes'];
  readonly reasons: Evaluation['reasons'];
  /** Who must agree. Absent: nobody need, or nobody can. */
  readonly approvals?: WantedApprovals;
  /** Labels of the hosts that may run it. Absent: any host, or it is denied. */
  readonly hosts?: Policy['hosts'];
}

interface ProfileDiff {
  readonly profile: string;
  /** Absent: it is in both. */
  readonly only?: 'old' | 'new';
  readonly members: readonly MemberChange[];
  readonly decisions: readonly DecisionChange[];
}

/**
 * Shows what is different between two profiles, or between those of one name in two folders: in their rules, and in what
 * they decide of the contracts of a corpus. Resolves to 0 where nothing is, else to 1, as diff(1) does.
 */
export async function diffPolicies(old: string, now: string, { corpus, json }: DiffOptions): Promise<number> {
  const pairs = await pairProfiles(old, now);
  const contracts = corpus === undefined ? [] : await readAll(corpus);
  const diffs = pairs.map(({ before, after }): ProfileDiff => {
    if (before === undefined || after === undefined)
      return {
        profile: nameOf(before ?? after),
        only: before === undefined ? 'new' : 'old',
        members: [],
        decisions: [],
      };
    const decisions = contracts.flatMap(({ name, contract }) => {
      const [first, second] = [decide(contract, before), decide(contract, after)];
      return isSame(first, second) ? [] : [{ contract: name, before: first, after: second }];
    });
    return { profile: nameOf(after), members: diffMembers(before.policy, after.policy), decisions };
  });
  const changed = diffs.filter((it) => it.only !== undefined || it.members.length + it.decisions.length > 0);
  if (json === true) for (const diff of changed) await writeJson(diff);
  else await show(changed, contracts.length);
  return changed.length === 0 ? exitCodes.ok : exitCodes.no;
}

async function readAll(corpus: string): Promise<CorpusEntry[]> {
  const entries: CorpusEntry[] = [];
  for await (const entry of readCorpus(corpus)) entries.push(entry);
  return entries;
}

const nameOf = (document: PolicyDocument | undefined): string => document?.policy.name ?? '';

// Who must agree, and where it may run, is as much of a decision as its verdict.
function decide(contract: CommandContract, document: PolicyDocument): Told {
  const { verdict, reasonCodes, reasons } = evaluate(contract, document);
  const { hosts } = document.policy;
  return {
    decision: verdict,
    reason_codes: reasonCodes,
    reasons,
    ...(verdict === 'needs_approval' ? { approvals: wantedApprovals(contract, document) } : {}),
    ...(verdict === 'deny' || hosts === undefined ? {} : { hosts }),
  };
}

// Texts may name a rule by its place, and the order of groups says nothing.
function isSame(first: Told, second: Told): boolean {
  const [old, now] = [first, second].map(({ decision, reason_codes: codes, approvals, hosts }) => ({
    decision,
    codes,
    hosts,
    people: approvals?.people,
    quorum: new Map(approvals?.quorum.map(({ group, count }) => [group, count])),
  }));
  return isDeepStrictEqual(old, now);
}

interface Pair {
  readonly before?: PolicyDocument;
  readonly after?: PolicyDocument;
}

async function pairProfiles(old: string, now: string): Promise<Pair[]> {
  const [isOldFolder, isNewFolder] = [isFolder(old), isFolder(now)];
  if (!isOldFolder && !isNewFolder)
    return [{ before: await readPolicyInput(old), after: await readPolicyInput(now) }];
  if (!isOldFolder || !isNewFolder)
    throw new CscError('CONFIG_INVALID', 'compare two profiles, or two folders of them');
  const [before, after] = [await readProfiles(old), await readProfiles(now)];
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.map((name) => {
    const [first, second] = [before.get(name), after.get(name)];
    return {
      ...(first === undefined ? {} : { before: first }),
      ...(second === undefined ? {} : { after: second }),
    };
  });
}

async function readProfiles(directory: string): Promise<Map<string, PolicyDocument>> {
  const documents = await Promise.all(profilesIn(directory).map(readPolicyInput));
  return new Map(documents.map((it) => [it.policy.name, it]));
}

function diffMembers(before: Policy, after: Policy): MemberChange[] {
  const [old, now] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((member) => {
    const [first, second] = [toEntries(old.get(member)), toEntries(now.get(member))];
    const removed = first.filter((it) => !second.some((other) => isDeepStrictEqual(it, other)));
    const added = second.filter((it) => !first.some((other) => isDeepStrictEqual(it, other)));
    // The order of effect rules counts.
    const isReordered = member === 'effect_rules' && !isDeepStrictEqual(first, second);
    if (removed.length + added.length > 0) return [{ member, removed, added }];
    return isReordered ? [{ member, removed: first, added: second }] : [];
  });
}

function toEntries(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value;
  if (typeof value !== 'object' || value === null) return [value];
  return Object.entries(value).map(([name, it]) => ({ [name]: it }));
}

async function show(diffs: readonly ProfileDiff[], asked: number): Promise<void> {
  const paint = createPaint(process.stdout);
  const line = (sign: '-' | '+', text: string): string =>
    paint(sign === '-' ? 'red' : 'green', `${sign} ${plainLine(text)}`);
  for (const { profile, only, members, decisions } of diffs) {
    const lines = [paint('bold', plainLine(profile))];
    if (only !== undefined) lines.push(line(only === 'old' ? '-' : '+', 'the whole profile'));
    for (const { member, removed, added } of members)
      lines.push(
        `  ${member}`,
        ...removed.map((it) => `    ${line('-', JSON.stringify(it))}`),
        ...added.map((it) => `    ${line('+', JSON.stringify(it))}`),
      );
    for (const { contract, before, after } of decisions)
      lines.push(
        `  ${plainLine(contract)}`,
        `    ${line('-', describe(before))}`,
        `    ${line('+', describe(after))}`,
      );
    if (asked > 0) lines.push(`  ${decisions.length} of ${asked} contracts are decided differently`);
    await writeOut(`${lines.join('\n')}\n`);
  }
}

function describe({ decision, reason_codes: codes, reasons, approvals, hosts }: Told): string {
  const words = [`${decision} (${codes.join(', ')}): ${reasons[0] ?? ''}`];
  if (approvals !== undefined) {
    const { quorum, people } = approvals;
    const isMore = people > quorum.reduce((sum, { count }) => sum + count, 0);
    words.push(`needs approval of ${describeQuorum(quorum)}${isMore ? `, ${people} people in all` : ''}`);
  }
  if (hosts !== undefined)
    words.push(
      `on hosts with ${Object.entries(hosts)
        .map(([name, it]) => `${name}=${it}`)
        .join(', ')}`,
    );
  return words.join('; ');
}
