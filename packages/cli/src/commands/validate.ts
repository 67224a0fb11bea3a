import {
  CscError,
  type Fault,
  formatFaults,
  type Parsed,
  showInvisible,
  withoutSecrets,
} from '@csc-fleet/common/errors';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { readInput } from '../files/read-input.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint } from '../terminal/text.ts';

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

const artifactKinds = ['contract', 'policy', 'approval', 'receipt', 'ticket'] as const;

type ArtifactKind = (typeof artifactKinds)[number];

type Parse = (bytes: Uint8Array) => Parsed<unknown>;

// Each kind's own parser limits it further.
const maxBytes = 16 << 20;

const parsers: Readonly<Record<ArtifactKind, () => Promise<Parse>>> = {
  contract: async () => (await import('@csc-fleet/common/contract')).parseContract,
  policy: async () => (await import('@csc-fleet/common/policy')).parsePolicy,
  approval: async () => (await import('@csc-fleet/common/approval')).parseApproval,
  receipt: async () => (await import('@csc-fleet/common/receipt')).parseReceipt,
  ticket: async () => (await import('@csc-fleet/common/ticket')).parseTicket,
};

/** Validates every file and says all that is wrong with each. Resolves to 0 where all are valid, to 1 otherwise. */
async function validateFiles(kind: ArtifactKind, files: readonly string[], json: boolean): Promise<number> {
  const parse = await parsers[kind]();
  let exitCode: number = exitCodes.ok;
  for (const file of files) {
    const faults = await faultsOf(file, parse);
    if (faults.length > 0) exitCode = exitCodes.no;
    await (json
      ? writeJson({ file: withoutSecrets(file), kind, valid: faults.length === 0, faults })
      : writeOut(describe(file, kind, faults)));
  }
  return exitCode;
}

// A file that cannot be read must not keep the others from being looked at.
async function faultsOf(file: string, parse: Parse): Promise<readonly Fault[]> {
  try {
    const result = parse(await readInput(file, maxBytes));
    return result.ok ? [] : result.faults;
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    return [{ path: '', message: error.message }];
  }
}

function describe(file: string, kind: ArtifactKind, faults: readonly Fault[]): string {
  const paint = createPaint(process.stdout);
  const name = withoutSecrets(showInvisible(file));
  if (faults.length === 0) return `${paint(['green', 'bold'], 'VALID')} — ${name} is a ${kind}\n`;
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  return `${paint(['red', 'bold'], 'INVALID')} — ${name}: ${count}\n${showInvisible(formatFaults(faults))}\n`;
}
