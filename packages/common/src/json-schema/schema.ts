import * as z from 'zod';
import { approvalSchema, approvalV02Schema, approversSchema, breakGlassSchema } from '../approval/index.ts';
import { manifestSchema } from '../audit-bundle/index.ts';
import { commandSchema, contractSchema } from '../contract/index.ts';
import { decisionSchema } from '../decision/index.ts';
import { executionPredicateSchema } from '../dsse/index.ts';
import { executorKeySchema } from '../executor-key/index.ts';
import { freezeSchema, hostsSchema, issuersSchema, logSchema, revokedSchema } from '../owners/index.ts';
import { bindingsSchema, bindingsV02Schema, policyV01Schema, policyV02Schema } from '../policy/index.ts';
import { samplesSchema } from '../policy-directory/index.ts';
import { chainHeadSchema, receiptV01Schema, receiptV02Schema } from '../receipt/index.ts';
import { resolutionSchema } from '../resolution/index.ts';
import { submissionSchema } from '../submission/index.ts';
import { ticketSchema } from '../ticket/index.ts';
import { logEntrySchema } from '../tlog/index.ts';

/** A JSON Schema of draft 2020-12. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

const sources = {
  contract: [contractSchema, 'csc.contract.v0.1'],
  policy: [policyV01Schema, 'csc.policy.v0.1'],
  'policy-v0.2': [policyV02Schema(), 'csc.policy.v0.2'],
  'policy-samples': [samplesSchema, 'csc.policy-samples.v0.1'],
  bindings: [bindingsSchema, 'csc.bindings.v0.1'],
  'bindings-v0.2': [bindingsV02Schema, 'csc.bindings.v0.2'],
  hosts: [hostsSchema, 'csc.hosts.v0.1'],
  issuers: [issuersSchema, 'csc.issuers.v0.1'],
  log: [logSchema, 'csc.log.v0.1'],
  revoked: [revokedSchema, 'csc.revoked.v0.1'],
  freeze: [freezeSchema, 'csc.freeze.v0.1'],
  submission: [submissionSchema, 'csc.submission.v0.1'],
  decision: [decisionSchema, 'csc.policy-decision.v0.1'],
  approval: [approvalSchema, 'csc.approval.v0.1'],
  'approval-v0.2': [approvalV02Schema, 'csc.approval.v0.2'],
  'break-glass': [breakGlassSchema, 'csc.break_glass.v0.1'],
  approvers: [approversSchema, 'csc.approvers.v0.1'],
  ticket: [ticketSchema, 'csc.ticket.v0.1'],
  'executor-key': [executorKeySchema, 'csc.executor-key.v0.1'],
  'chain-head': [chainHeadSchema, 'csc.chain-head.v0.1'],
  resolution: [resolutionSchema, 'csc.resolution.v0.1'],
  'execution-predicate': [executionPredicateSchema, 'csc.execution-predicate.v0.1'],
  'log-entry': [logEntrySchema, 'csc.log-entry.v0.1'],
  'audit-bundle': [manifestSchema, 'csc.audit-bundle.v0.1'],
  receipt: [receiptV02Schema, 'csc.execution-receipt.v0.2'],
  'receipt-v0.1': [receiptV01Schema, 'csc.execution-receipt.v0.1'],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

/** The artifacts that have a published schema. */
export type ArtifactName = keyof typeof sources;

/** The JSON Schema of each artifact as it is written: members with a default may be left out. */
export const artifactSchemas: Readonly<Record<ArtifactName, JsonSchema>> = publish();

/** The base of the file name of an artifact's published schema: `csc.contract.v0.1`. */
export function schemaFileName(artifact: ArtifactName): string {
  return `${sources[artifact][1]}.schema.json`;
}

function publish(): Record<ArtifactName, JsonSchema> {
  const entries = Object.entries(sources).map(([name, [schema, id]]) => [name, toJsonSchema(schema, id)]);
  return Object.fromEntries(entries) as Record<ArtifactName, JsonSchema>;
}

function toJsonSchema(schema: z.ZodType, id: string): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io: 'input',
    override: allowNullForms,
  });
  return { $schema, $id: `urn:csc:schema:${id}`, ...rest } as JsonSchema;
}

// The parser takes the absent one of exec and pipeline as null too, before zod sees it.
function allowNullForms({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodType;
  jsonSchema: JsonSchema;
}): void {
  if (zodSchema !== commandSchema) return;
  const { exec = {}, pipeline = {} } = jsonSchema.properties ?? {};
  const forms = {
    exec: { anyOf: [exec, { type: 'null' }] },
    pipeline: { anyOf: [pipeline, { type: 'null' }] },
  } as const;
  Object.assign(jsonSchema.properties ?? {}, forms);
}
