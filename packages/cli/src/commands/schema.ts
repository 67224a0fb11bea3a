import { artifactSchemas } from '@csc-fleet/common/json-schema';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';

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

/** Prints a schema, or all names where none is given. Resolves to 1 for a name that there is not. */
async function printSchema(name: string | undefined, json: boolean): Promise<number> {
  const names = Object.keys(artifactSchemas);
  if (name === undefined) {
    await (json ? writeJson(names) : writeOut(`${names.join('\n')}\n`));
    return exitCodes.ok;
  }
  const schema = Object.entries(artifactSchemas).find(([key]) => key === name)?.[1];
  if (schema === undefined) {
    note(`ERROR — there is no schema of that name\nWhat to do: take one of ${names.join(', ')}`);
    return exitCodes.usage;
  }
  await writeOut(`${JSON.stringify(schema, null, 2)}\n`);
  return exitCodes.ok;
}
