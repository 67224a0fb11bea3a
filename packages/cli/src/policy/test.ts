import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { junit } from 'node:test/reporters';
import { inspect } from 'node:util';
import { CscError, formatFaults } from '@csc-fleet/common/errors';
import { type ProfileTest, type SampleResult, testPolicyDirectory } from '@csc-fleet/common/policy-directory';
import { isOwnersFile } from '@csc-fleet/common/policy-repository';
import { exitCodes } from '../action/exit-codes.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { describeFindings } from '../show/decision.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { toTable } from '../terminal/table.ts';
import { createPaint, type Paint, plainLine } from '../terminal/text.ts';
import { isFolder } from './profiles.ts';

interface TestOptions {
  readonly junit?: string;
  readonly json?: true;
}

/**
 * Has the profiles of a folder, or of an owners' repository, decide their samples, and shows what they say. Resolves to 0
 * where all is as it must be, and to 1 where something is not, or cannot be read.
 */
export async function testPolicies(directory: string, { junit: file, json }: TestOptions): Promise<number> {
  const profiles = testPolicyDirectory(profilesOf(directory), isOwnersFile);
  if (file !== undefined) writeFileWhole(file, await toJunit(profiles));
  if (json === true) for (const profile of profiles) await writeJson(toJson(profile));
  else await show(profiles);
  return profiles.every(isAsDue) ? exitCodes.ok : exitCodes.no;
}

function profilesOf(directory: string): string {
  if (!isFolder(directory))
    throw new CscError(
      'CONFIG_INVALID',
      `${directory} is a file: name the folder that it and its samples lie in`,
    );
  const ofRepository = join(directory, 'targets', 'policies');
  return existsSync(ofRepository) ? ofRepository : directory;
}

function isAsDue({ unreadable, results }: ProfileTest): boolean {
  return unreadable.length === 0 && results.every((it) => it.isAsDue);
}

const nameOf = ({ file, policy }: ProfileTest): string => policy?.policy.name ?? file;
const due = ({ sample }: SampleResult): string => `${sample.decision} (${sample.reason_code})`;
const said = ({ evaluation }: SampleResult): string =>
  `${evaluation.verdict} (${evaluation.reasonCodes.join(', ')})`;

async function show(profiles: readonly ProfileTest[]): Promise<void> {
  const paint = createPaint(process.stdout);
  const rows = profiles.flatMap((profile) =>
    profile.results.map((it) => [
      nameOf(profile),
      it.sample.name,
      said(it),
      it.isAsDue ? 'as due' : 'NOT AS DUE',
    ]),
  );
  if (rows.length > 0) await writeOut(toTable(['PROFILE', 'SAMPLE', 'DECISION', ''], rows));
  for (const { unreadable } of profiles)
    for (const { file, faults } of unreadable)
      await writeOut(
        `\n${paint(['red', 'bold'], 'NOT READABLE')} ${plainLine(file)}\n${formatFaults(faults)}\n`,
      );
  for (const profile of profiles)
    for (const result of profile.results)
      if (!result.isAsDue) await writeOut(`\n${describeFailure(profile, result, paint)}\n`);
  for (const profile of profiles)
    if (profile.unreadable.length === 0 && profile.results.length === 0)
      note(
        plainLine(
          `csc: ${nameOf(profile)} has no samples: nothing tells what it is to allow and deny (NAME.samples.yaml)`,
        ),
      );
  const failed = profiles.flatMap(({ results }) => results).filter((it) => !it.isAsDue).length;
  note(`csc: ${rows.length} samples of ${profiles.length} profiles, ${failed} not as due`);
}

/** What was due and what is, as a diff, and by which rules. */
function describeFailure(profile: ProfileTest, result: SampleResult, paint: Paint): string {
  const { evaluation, advice } = result;
  return [
    paint('bold', plainLine(`${nameOf(profile)}: ${result.sample.name}`)),
    paint('red', `- ${due(result)}`),
    paint('green', `+ ${said(result)}`),
    describeFindings({ ...evaluation, contractSha256: '' }, paint),
    ...(advice === undefined ? [] : [plainLine(`What to do: ${advice}`)]),
  ].join('\n');
}

function toJson(profile: ProfileTest): object {
  const { file, unreadable, results } = profile;
  return {
    profile: nameOf(profile),
    file,
    ...(unreadable.length === 0 ? {} : { unreadable }),
    samples: results.map(({ sample, evaluation, isAsDue: ok }) => ({
      name: sample.name,
      ok,
      expected: { decision: sample.decision, reason_code: sample.reason_code },
      decision: evaluation.verdict,
      reason_codes: evaluation.reasonCodes,
      reasons: evaluation.reasons,
    })),
  };
}

/** As CI systems read it: a suite a profile, a case a sample. */
async function toJunit(profiles: readonly ProfileTest[]): Promise<string> {
  let text = '';
  for await (const part of junit(toEvents(profiles))) text += part;
  return text;
}

type Events = Parameters<typeof junit>[0];
type Event = Events extends AsyncGenerator<infer One, void> ? One : never;

// The reporter of Node's own test runner is given what it would hear of one.
async function* toEvents(profiles: readonly ProfileTest[]): Events {
  for (const profile of profiles) {
    yield { type: 'test:start', data: { name: nameOf(profile), nesting: 0 } };
    for (const { file, faults } of profile.unreadable) yield* toCase(file, formatFaults(faults));
    for (const result of profile.results)
      yield* toCase(result.sample.name, result.isAsDue ? undefined : describeFailure(profile, result, plain));
    yield passed(nameOf(profile), 0);
  }
}

const plain: Paint = (_, text) => text;

function* toCase(name: string, failure: string | undefined): Generator<Event> {
  yield { type: 'test:start', data: { name, nesting: 1 } };
  yield failure === undefined ? passed(name, 1) : failed(name, failure);
}

function passed(name: string, nesting: number): Event {
  return { type: 'test:pass', data: { name, nesting, testNumber: 1, details: { duration_ms: 0 } } };
}

function failed(name: string, failure: string): Event {
  const [head, wanted, got] = failure.split('\n', 3);
  const message = got === undefined ? (head ?? '').trim() : `${wanted} ${got}`;
  const cause = new Error(message);
  // The reporter shows what inspect makes of it; where in this program it was made helps nobody.
  const error = Object.assign(new Error(message), {
    cause,
    code: 'SAMPLE_FAILED',
    [inspect.custom]: () => failure,
  });
  return { type: 'test:fail', data: { name, nesting: 1, testNumber: 1, details: { duration_ms: 0, error } } };
}
