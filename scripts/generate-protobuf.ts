// Generates the protobuf code, into the checkout or, as `generateProtobuf(DIR)`, beside it. The generated clients would
// load @grpc/grpc-js wherever a message is loaded, and with it half of what a short command takes to start: their
// constructors are left out, and are made in packages/common/src/rpc.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the generated code lies, from the root. */
export const generated = 'packages/common/src/gen';

export function generateProtobuf(root: string): void {
  execFileSync('buf', ['generate', '--output', root], { stdio: 'inherit' });
  for (const file of globSync(join(root, generated, '**/*.ts'))) {
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, withoutConstructors(text));
  }
}

function withoutConstructors(text: string): string {
  const messagesOnly = text
    .replace(
      /\nexport const \w+Client = makeGenericClientConstructor\([^;]*?\) as unknown as \{.*?\n\};\n/gs,
      '',
    )
    .replace(/import (\{[^}]*\}) from "@grpc\/grpc-js";/, (_, names: string) => {
      const types = names.replace('  makeGenericClientConstructor,\n', '').replaceAll('  type ', '  ');
      return `import type ${types} from "@grpc/grpc-js";`;
    });
  if (messagesOnly.includes('makeGenericClientConstructor'))
    throw new Error('a generated client was not found');
  return messagesOnly;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) generateProtobuf('.');
