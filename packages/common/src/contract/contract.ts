import type * as z from 'zod';
import {
  artifactBytes,
  canonicalAsWritten,
  canonicalJson,
  isJsonObject,
  type JsonValue,
  readStrictJson,
  sha256Hex,
} from '../encoding/index.ts';
import { type Parsed, parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import type { effectTypes, networkModes } from './command.ts';
import type { approvalModes, riskClasses } from './schema.ts';
import { contractSchema } from './schema.ts';

/** What is to be run, what it may touch, and why (protocol §1). */
export type CommandContract = z.infer<typeof contractSchema>;
export type Command = CommandContract['commands'][number];
export type Actor = CommandContract['actor'];
export type RiskClass = (typeof riskClasses)[number];
export type ApprovalMode = (typeof approvalModes)[number];
export type NetworkMode = (typeof networkModes)[number];
export type EffectType = (typeof effectTypes)[number];

/** Reads a contract from its JSON text. Gives every fault at once, each with its member. */
export function parseContract(bytes: Uint8Array): Parsed<CommandContract> {
  return parseArtifact(bytes, artifactBytes.contract, contractFromJson);
}

/** A contract with the one text of it that is hashed, signed and passed on (protocol §4). */
export interface CanonicalContract {
  readonly contract: CommandContract;
  /** Canonical. */
  readonly contractJson: string;
  /** Of that, in lower-case hex. */
  readonly contractSha256: string;
}

/** The same with its canonical text, which what came is where its writer has put the members in order. */
export function readContract(bytes: Uint8Array): Parsed<CanonicalContract> {
  const json = readStrictJson(bytes, { maxBytes: artifactBytes.contract });
  if (!json.ok) return json;
  const { value, written } = json.value;
  const contract = contractFromJson(value);
  if (!contract.ok) return contract;
  const isAsItCame = contract.value === value && written !== undefined;
  return parsed(toCanonical(contract.value, isAsItCame ? canonicalAsWritten(value, written) : undefined));
}

/** A contract that is read already, with its canonical text. */
export function canonicalContract(contract: CommandContract): CanonicalContract {
  return toCanonical(contract, undefined);
}

function toCanonical(contract: CommandContract, known: string | undefined): CanonicalContract {
  const contractJson = known ?? canonicalJson(contract);
  return { contract, contractJson, contractSha256: sha256Hex(contractJson) };
}

/** Validates a contract that is parsed already; absent expected_outputs are filled in as []. */
export function contractFromJson(value: JsonValue): Parsed<CommandContract> {
  return validate(contractSchema, withoutNullForms(value));
}

/** Lower-case hex SHA-256 of the canonical contract, expected_outputs filled in (protocol §4). */
export function contractSha256(contract: CommandContract): string {
  return sha256Hex(canonicalJson(contract));
}

/** The argument vectors of a command: one for exec, one a segment for a pipeline. */
export function argvs(command: Command): string[][] {
  if (command.exec !== undefined) return [command.exec.argv];
  return command.pipeline?.segments.map((segment) => segment.argv) ?? [];
}

/** Lower-case hex SHA-256 of the canonical JSON of exec's argv, or of the array of a pipeline's argvs. */
export function argvSha256(command: Command): string {
  return sha256Hex(canonicalJson(command.exec?.argv ?? argvs(command)));
}

// The reference writes the absent one of exec and pipeline as null, and reads it so.
function withoutNullForms(value: JsonValue): JsonValue {
  if (!isJsonObject(value)) return value;
  const { commands } = value;
  if (!Array.isArray(commands) || !commands.some(hasNullForm)) return value;
  return { ...value, commands: commands.map(withoutNullForm) };
}

function hasNullForm(command: JsonValue): boolean {
  return isJsonObject(command) && (command['exec'] === null || command['pipeline'] === null);
}

function withoutNullForm(command: JsonValue): JsonValue {
  if (!isJsonObject(command)) return command;
  const { exec, pipeline, ...rest } = command;
  return {
    ...rest,
    ...(exec === undefined || exec === null ? {} : { exec }),
    ...(pipeline === undefined || pipeline === null ? {} : { pipeline }),
  };
}
