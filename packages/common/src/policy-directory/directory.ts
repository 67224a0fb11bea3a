import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { artifactBytes } from '../encoding/index.ts';
import { CscError, type Fault, orThrow, type Parsed } from '../errors/index.ts';
import { explainFileError, readBoundedFile } from '../files/index.ts';
import { type PolicyDocument, parsePolicy } from '../policy/policy.ts';
import { createPolicySet, type PolicySet } from '../policy/policy-set.ts';
import type { Sample } from './sample-schema.ts';
import { judgeSamples, parseSamples, type SampleResult, testSamples } from './samples.ts';

const samplesEnding = '.samples.yaml';
const bindingsFile = 'bindings.yaml';

/**
 * Every profile of a directory: each NAME.yaml but bindings.yaml, held against NAME.samples.yaml where there is one.
 * Throws FILE_UNREADABLE, or POLICY_INVALID for a faulty profile, a sample that fails, samples of no profile, two
 * profiles of one name, or no profile at all. Fails as a whole: a fleet must not run on a part of its policies.
 */
export function readPolicyDirectory(directory: string): PolicySet {
  return readPolicies(readProfileFiles(directory));
}

/** The files of a directory that are profiles, as paths. Throws as readPolicyDirectory for what it cannot list. */
export function listProfiles(directory: string): string[] {
  return listYaml(directory)
    .filter((name) => name !== bindingsFile && !name.endsWith(samplesEnding))
    .map((name) => join(directory, name));
}

function readProfileFiles(
  directory: string,
  isOther: (name: string) => boolean = () => false,
): Map<string, Uint8Array> {
  const names = listYaml(directory).filter((name) => name !== bindingsFile && !isOther(name));
  if (names.length === 0) throw invalid(`${directory} holds no policy profile (NAME.yaml)`);
  return new Map(
    names.map((name) => [
      join(directory, name),
      readBoundedFile(join(directory, name), { maxBytes: artifactBytes.policy }).bytes,
    ]),
  );
}

/** A profile of a directory, and what it says of its samples. */
export interface ProfileTest {
  readonly file: string;
  /** Where it and its samples can be read. */
  readonly policy?: PolicyDocument;
  /** What is wrong with the profile's file or with that of its samples. Empty where both can be read. */
  readonly unreadable: readonly { readonly file: string; readonly faults: readonly Fault[] }[];
  /** Empty where it has no samples. */
  readonly results: readonly SampleResult[];
}

/**
 * Every profile of a directory with what it says of its samples, whether that is what it must say or not. Throws
 * FILE_UNREADABLE, or POLICY_INVALID for a directory without profiles, or with samples of none.
 * @param isOther true for the name of a file that is no profile. Absent: all are
 */
export function testPolicyDirectory(
  directory: string,
  isOther: (name: string) => boolean = () => false,
): ProfileTest[] {
  const files = readProfileFiles(directory, isOther);
  checkSamplesHaveProfiles(files);
  return [...files.keys()]
    .filter((name) => !name.endsWith(samplesEnding))
    .map((name) => testProfile(files, name));
}

function testProfile(files: ReadonlyMap<string, Uint8Array>, file: string): ProfileTest {
  const policy = parsePolicy(files.get(file) ?? new Uint8Array(), file);
  const own = samplesOf(file);
  const text = files.get(own);
  const samples: Parsed<Sample[]> = text === undefined ? { ok: true, value: [] } : parseSamples(text);
  if (policy.ok && samples.ok)
    return { file, policy: policy.value, unreadable: [], results: testSamples(samples.value, policy.value) };
  const unreadable = [
    { file, faults: policy.ok ? [] : policy.faults },
    { file: own, faults: samples.ok ? [] : samples.faults },
  ].filter(({ faults }) => faults.length > 0);
  return { file, unreadable, results: [] };
}

/**
 * The profiles among files, by what each is called in errors: NAME.yaml, held against NAME.samples.yaml where there is
 * one. Throws POLICY_INVALID as readPolicyDirectory does. No files: an empty set.
 */
export function readPolicies(files: ReadonlyMap<string, Uint8Array>): PolicySet {
  const names = [...files.keys()];
  checkSamplesHaveProfiles(files);
  return createPolicySet(
    names.filter((name) => !name.endsWith(samplesEnding)).map((name) => readTestedPolicy(files, name)),
  );
}

function checkSamplesHaveProfiles(files: ReadonlyMap<string, Uint8Array>): void {
  for (const name of files.keys())
    if (name.endsWith(samplesEnding) && !files.has(profileOf(name)))
      throw invalid(`${name} has no profile ${basename(profileOf(name))} beside it`);
}

function listYaml(directory: string): string[] {
  try {
    const names = readdirSync(directory).sort();
    const odd = names.find((name) => name.endsWith('.yml'));
    if (odd !== undefined)
      throw invalid(`${join(directory, odd)} would not be read: rename it to end in .yaml`);
    return names.filter((name) => name.endsWith('.yaml') && !name.startsWith('.'));
  } catch (error) {
    if (error instanceof CscError) throw error;
    throw new CscError('FILE_UNREADABLE', `failed to read ${directory}: ${explainFileError(error)}`, {
      cause: error,
    });
  }
}

function profileOf(samples: string): string {
  return `${samples.slice(0, -samplesEnding.length)}.yaml`;
}

function samplesOf(profile: string): string {
  return `${profile.slice(0, -'.yaml'.length)}${samplesEnding}`;
}

function readTestedPolicy(files: ReadonlyMap<string, Uint8Array>, name: string): PolicyDocument {
  const policy = orThrow(parsePolicy(files.get(name) ?? new Uint8Array(), name), 'POLICY_INVALID', name);
  const own = samplesOf(name);
  const samples = files.get(own);
  if (samples === undefined) return policy;
  const faults = judgeSamples(orThrow(parseSamples(samples), 'POLICY_INVALID', own), policy);
  orThrow(
    faults.length === 0 ? { ok: true, value: policy } : { ok: false, faults },
    'POLICY_INVALID',
    `${name} (by ${basename(own)})`,
  );
  return policy;
}

function invalid(message: string): CscError {
  return new CscError('POLICY_INVALID', message);
}
