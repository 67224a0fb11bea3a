import { artifactSchemas } from '@csc-fleet/common/json-schema';
import { exitCodes } from '../exit-codes.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';

/** Prints a schema, or all names where none is given. Resolves to 1 for a name that there is not. */
export async function printSchema(name: string | undefined, json: boolean): Promise<number> {
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
