import type { Command } from 'commander';
import { act } from '../action.ts';
import { type ArtifactKind, artifactKinds, validateFiles } from '../artifacts/validate.ts';

const help = `
Exit codes: 0 every file is valid, 1 otherwise.

Examples:
  $ csc validate contract examples/contracts/*.json
  $ csc validate policy policies/ci-build.yaml
  $ csc validate receipt --json out/receipt.json

This looks at an artifact's form. csc verify-receipt verifies a signature; csc check decides.
`;

export function defineValidate(command: Command): void {
  command
    .description('Check files against the protocol. Shows every fault with its member, not only the first.')
    .addArgument(command.createArgument('<kind>', 'what the files are').choices(artifactKinds))
    .argument('<files...>', 'the files; - is standard input')
    .option('--json', 'print one JSON document a file')
    .addHelpText('after', help);
  act<[ArtifactKind, string[], { json?: true }]>(command, (kind, files, { json }) =>
    validateFiles(kind, files, json ?? false),
  );
}
