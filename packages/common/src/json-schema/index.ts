export { type ArtifactName, artifactSchemas, type JsonSchema, schemaFileName } from './schema.ts';
