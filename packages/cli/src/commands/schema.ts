import type { Command } from 'commander';
import { act } from '../action.ts';
import { printSchema } from '../artifacts/schema.ts';

const help = `
Examples:
  $ csc schema                                     the names
  $ csc schema contract > contract.schema.json     for an editor: "$schema" or the yaml.schemas setting
`;

export function defineSchema(command: Command): void {
  command
    .description('Print an artifact’s JSON Schema (draft 2020-12). Without a name: the names.')
    .argument('[name]', 'the artifact')
    .option('--json', 'the names as JSON; a schema is JSON anyway')
    .addHelpText('after', help);
  act<[string | undefined, { json?: true }]>(command, (name, { json }) => printSchema(name, json ?? false));
}
