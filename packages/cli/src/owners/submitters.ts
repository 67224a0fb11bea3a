import { statSync } from 'node:fs';
import { toBase64 } from '@csc-fleet/common/crypto';
import { artifactBytes, canonicalJson } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { type Bindings, parseBindings, submitterKeys } from '@csc-fleet/common/policy';
import { writeFileWhole } from '../files/write-file.ts';

/** Whose submissions count with which key. */
export interface SubmitterEntry {
  readonly principal: string;
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  /** Nobody has this key: it stands for one that is yet to be made. */
  readonly isStandIn?: true;
}

/** The entry of bindings.yaml, as `csc login` prints it. */
export function describeSubmitter(entry: SubmitterEntry): string {
  return `submitters:\n${toItem(entry, '  ')}`;
}

function toItem({ principal, keyId, publicKey }: SubmitterEntry, indent: string): string {
  const key = `${indent}    - key_id: ${keyId}\n${indent}      public_key: ${toBase64(publicKey)}\n`;
  return `${indent}- principal: ${principal}\n${indent}  keys:\n${key}`;
}

/** Bindings for one principal alone, who may use these profiles, the first where none is named. */
export function bindingsFor(entry: SubmitterEntry, profiles: readonly string[]): Buffer {
  const bindings = [{ identity: entry.principal, policies: profiles }];
  return toJsonYaml({ bindings_version: 'csc.bindings.v0.2', bindings, submitters: [toJson(entry)] });
}

/** What `addSubmitterTo` would make of that file. Throws as it does. */
export function bindingsWith(file: string, entry: SubmitterEntry): Buffer {
  const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
  return withSubmitter(bytes, entry, file) ?? bytes;
}

/**
 * Puts a submitter into a file of bindings, in the place of it. Gives false where it is there already. Throws
 * POLICY_INVALID for what are no bindings, and CONFIG_INVALID for v0.1 and for what somebody has to do by hand
 * (`whyByHand`).
 */
export function addSubmitterTo(file: string, entry: SubmitterEntry): boolean {
  const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
  const changed = withSubmitter(bytes, entry, file);
  if (changed === undefined) return false;
  writeFileWhole(file, changed, statSync(file).mode & 0o777);
  return true;
}

/**
 * Why somebody has to put the entry there by hand: the principal has other keys, or the layout of the file is not known
 * here. Undefined where nobody has to. Its words end as of an entry that is printed (`describeSubmitter`): a text for
 * people is shown without what may be a key. Throws as `addSubmitterTo` otherwise.
 */
export function whyByHand(file: string, entry: SubmitterEntry): string | undefined {
  const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
  return planSubmitter(bytes, entry, file).byHand;
}

// Bindings with one more submitter, and otherwise as they were, comments too; undefined where it is there already.
function withSubmitter(bytes: Uint8Array, entry: SubmitterEntry, name: string): Buffer | undefined {
  const { after, byHand } = planSubmitter(bytes, entry, name);
  if (byHand !== undefined) throw new CscError('CONFIG_INVALID', byHand);
  return after;
}

interface SubmitterPlan {
  readonly after?: Buffer;
  readonly byHand?: string;
}

function planSubmitter(bytes: Uint8Array, entry: SubmitterEntry, name: string): SubmitterPlan {
  const before = orThrow(parseBindings(bytes), 'POLICY_INVALID', name);
  if (before.submitters === undefined) {
    const message = `${name} is of csc.bindings.v0.1, in which nobody signs: make it csc.bindings.v0.2, whose secrets go by profile (docs/migration.md, step 4)`;
    throw new CscError('CONFIG_INVALID', message);
  }
  const keys = submitterKeys(before, entry.principal);
  const known = keys?.find(entry.keyId);
  if (known !== undefined && Buffer.compare(known.publicKey, entry.publicKey) === 0) return {};
  const printed = entry.isStandIn
    ? 'csc login makes yours and prints what to'
    : 'what is printed here is what to';
  if (keys !== undefined)
    return { byHand: `${name} names other keys of ${entry.principal}: ${printed} put beside them` };
  const after = addText(Buffer.from(bytes).toString('utf8'), entry);
  if (isOnlyThat(before, after, entry)) return { after };
  return { byHand: `${name} is laid out in another way than is known here: ${printed} add below submitters` };
}

function addText(text: string, entry: SubmitterEntry): Buffer {
  if (text.trimStart().startsWith('{')) {
    const value = JSON.parse(text);
    return toJsonYaml({ ...value, submitters: [...(value.submitters ?? []), toJson(entry)] });
  }
  const lines = text.replace(/\n?$/, '\n').split('\n');
  const at = lines.findIndex((line) => /^submitters:\s*(\[\s*\]\s*)?(#.*)?$/.test(line));
  if (at < 0) return Buffer.from(lines.join('\n') + describeSubmitter(entry));
  const [, indent = '  '] = /^(\s*)- /.exec(lines.slice(at + 1).find((it) => /^\s*- /.test(it)) ?? '') ?? [];
  lines[at] = (lines[at] ?? '').replace(/\[\s*\]/, '').trimEnd();
  lines.splice(at + 1, 0, toItem(entry, indent).trimEnd());
  return Buffer.from(lines.join('\n'));
}

// Whatever the text was like: it must mean what it meant before, and one submitter more.
function isOnlyThat(before: Bindings, text: Uint8Array, entry: SubmitterEntry): boolean {
  const after = parseBindings(text);
  if (!after.ok) return false;
  const others = after.value.submitters?.filter(({ principal }) => principal !== entry.principal) ?? [];
  const same = { bindings: before.bindings, submitters: before.submitters };
  return (
    submitterKeys(after.value, entry.principal)?.find(entry.keyId) !== undefined &&
    canonicalText({ bindings: after.value.bindings, submitters: others }) === canonicalText(same)
  );
}

function canonicalText(value: object): string {
  return canonicalJson(JSON.parse(JSON.stringify(value)));
}

function toJson({ principal, keyId, publicKey }: SubmitterEntry): object {
  return { principal, keys: [{ key_id: keyId, public_key: toBase64(publicKey) }] };
}

// JSON is YAML.
function toJsonYaml(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}
