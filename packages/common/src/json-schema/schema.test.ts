import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ArtifactName, artifactSchemas, type JsonSchema, schemaFileName } from './schema.ts';

const names = Object.keys(artifactSchemas) as ArtifactName[];

function objects(value: unknown): JsonSchema[] {
  if (typeof value !== 'object' || value === null) return [];
  const own =
    'properties' in value && 'type' in value && value.type === 'object' ? [value as JsonSchema] : [];
  return [...own, ...Object.values(value).flatMap(objects)];
}

describe.each(names)('the JSON Schema of %s', (name) => {
  const schema = artifactSchemas[name];

  it('says what it is', () => {
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: `urn:csc:schema:${schemaFileName(name).replace('.schema.json', '')}`,
      title: expect.any(String),
      description: expect.any(String),
    });
  });

  it('refuses unknown members at every level', () => {
    expect(objects(schema).length).toBeGreaterThan(0);
    for (const object of objects(schema)) expect(object.additionalProperties).toBe(false);
  });
});

describe('the JSON Schemas', () => {
  it('have ids of their own', () => {
    expect(new Set(names.map((name) => artifactSchemas[name].$id)).size).toBe(names.length);
  });

  it('count lengths as the parser does, in code points', () => {
    expect(artifactSchemas.contract.properties?.['contract_id']).toMatchObject({
      minLength: 8,
      maxLength: 128,
    });
  });

  it('do not ask for members that have a default', () => {
    expect(artifactSchemas.contract.required).not.toContain('expected_outputs');
    expect(artifactSchemas.policy.required).not.toContain('deny_argv_prefixes');
  });

  it('are published as they are', () => {
    const root = join(import.meta.dirname, '..', '..', '..', '..');
    const check = () =>
      execFileSync(process.execPath, [join(root, 'scripts', 'publish-schemas.ts'), '--check']);
    expect(check).not.toThrow();
  });
});
