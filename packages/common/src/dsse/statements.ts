import type { Signer } from '../crypto/index.ts';
import { toBase64 } from '../crypto/index.ts';
import { canonicalBytes, type EncodableObject } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';
import { type Envelope, preAuthEncoding, statementMediaType, toEnvelope } from './envelope.ts';
import { executionPredicate, toExecutionPredicate } from './predicate.ts';

/** SLSA provenance (slsa.dev/spec/v1.1/provenance). */
export const slsaProvenance = 'https://slsa.dev/provenance/v1';
/** What a contract is as a build: its parameters are documented in docs/exports.md. */
export const contractBuildType = 'urn:csc:build-type:contract:v0.1';

/** An in-toto Statement (in-toto attestation v1) as it is signed. */
export interface Statement {
  readonly predicateType: string;
  /** Canonical JSON. */
  readonly payload: Buffer;
}

/**
 * The statements of a receipt: pure, so that a signature over one can stand in the receipt itself, and whoever has the receipt
 * can tell whether a payload is what it says. The signature, its certificates and its attestations are not in them.
 */
export function statementsOf(receipt: ReceiptV02): Statement[] {
  const execution = toStatement(receipt, executionPredicate, toExecutionPredicate(receipt));
  return hasBuilt(receipt)
    ? [execution, toStatement(receipt, slsaProvenance, toProvenance(receipt))]
    : [execution];
}

/** The members of a receipt that attest it. They are signed for the receipt as it will be, without them. */
export function attest(receipt: ReceiptV02, signer: Signer): Pick<Required<ReceiptV02>, 'attestations'> {
  const attestations = statementsOf(receipt).map(({ predicateType, payload }) => ({
    predicate_type: predicateType,
    signature: toBase64(signer.sign(preAuthEncoding(statementMediaType, payload))),
  }));
  return { attestations };
}

/**
 * The envelopes of a receipt that is verified already. Throws RECEIPT_INVALID where it has none, as nobody asked for them
 * when it was run and nobody else can sign them; or where what it has is not for the statements that are its own.
 */
export function envelopesOf(receipt: ReceiptV02): Envelope[] {
  const { attestations, signature } = receipt;
  if (attestations === undefined || signature === undefined)
    throw invalid(
      'its executor has not attested it: ask for that when it is submitted (csc submit --attest), or on its host (attest_receipts: true)',
    );
  const statements = statementsOf(receipt);
  const named = attestations.map((it) => it.predicate_type).join(' ');
  if (named !== statements.map((it) => it.predicateType).join(' '))
    throw invalid('its attestations are not of the statements that can be made of it');
  return statements.map(({ payload }, index) =>
    toEnvelope(payload, signature.key_id, attestations[index]?.signature ?? ''),
  );
}

function invalid(why: string): CscError {
  return new CscError('RECEIPT_INVALID', `the receipt of an execution cannot be exported: ${why}`);
}

// A failed run's files are not what was to be built.
function hasBuilt({ status, artifacts = [] }: ReceiptV02): boolean {
  return status === 'success' && artifacts.length > 0;
}

function toStatement(receipt: ReceiptV02, predicateType: string, predicate: EncodableObject): Statement {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: subjectsOf(receipt),
    predicateType,
    predicate,
  };
  return { predicateType, payload: canonicalBytes(statement) };
}

// A statement is about something: of a run that left no file, about what it was asked and what it said.
function subjectsOf(receipt: ReceiptV02): EncodableObject[] {
  const { artifacts = [], contract_id, contract_sha256, stdout_hash, stderr_hash } = receipt;
  if (artifacts.length > 0) return artifacts.map(({ path, sha256 }) => ({ name: path, digest: { sha256 } }));
  return [
    { name: `contract:${contract_id}`, digest: { sha256: contract_sha256 } },
    ...digestOf('stdout', stdout_hash),
    ...digestOf('stderr', stderr_hash),
  ];
}

function digestOf(name: string, tagged: string | undefined): EncodableObject[] {
  return tagged === undefined ? [] : [{ name, digest: { sha256: tagged.replace('sha256:', '') } }];
}

// The builder is named by what the host knows of itself; whose key has signed it says the whole of its name.
function toProvenance(receipt: ReceiptV02): EncodableObject {
  const { contract_id, contract_sha256, policy_profile, policy_sha256, executor_id = 'unknown' } = receipt;
  const policyDigest = policy_sha256 === undefined ? undefined : { sha256: policy_sha256 };
  return {
    buildDefinition: {
      buildType: contractBuildType,
      externalParameters: {
        contract_id,
        contract_sha256,
        policy_profile,
        principal: receipt.principal,
        submission_sha256: receipt.submission_sha256,
      },
      internalParameters: {
        policy_version: receipt.policy_version,
        execution_mode: receipt.execution_mode,
        sandbox_profile_id: receipt.sandbox_profile_id,
      },
      resolvedDependencies: [
        { name: 'contract', uri: `urn:csc:contract:${contract_id}`, digest: { sha256: contract_sha256 } },
        { name: 'policy', uri: `urn:csc:policy:${policy_profile}`, digest: policyDigest },
      ],
    },
    runDetails: {
      builder: {
        id: `urn:csc:executor:${executor_id}`,
        version: receipt.runner_version === undefined ? undefined : { 'csc-fleet': receipt.runner_version },
      },
      metadata: {
        invocationId: receipt.execution_id,
        startedOn: receipt.started_at,
        finishedOn: receipt.ended_at,
      },
      byproducts: [...digestOf('stdout', receipt.stdout_hash), ...digestOf('stderr', receipt.stderr_hash)],
    },
  };
}
