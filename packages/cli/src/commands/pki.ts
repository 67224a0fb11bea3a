import type { Command } from 'commander';
import { act } from '../action.ts';
import { issueInto, makePki, type PkiInitOptions, type PkiIssueOptions } from '../artifacts/pki.ts';

const initHelp = `
Example:
  $ csc pki init pki --host gate.example --client alice --client bob --executor build-1

DIR then has ca.pem, and gate, executor-NAME and client-NAME each as .pem and .key. Whoever has ca.key can be
anybody: keep it from the hosts.
`;

const issueHelp = `
Examples:
  $ csc pki issue client carol --dir pki
  $ csc pki issue executor build-2 --dir pki
`;

const append = (value: string, list: string[]): string[] => [...list, value];

export function definePki(command: Command): void {
  command.description('Make a CA and certificates for development and small installations.');
  const init = command
    .command('init')
    .summary('make a CA, a gate’s certificate and those named')
    .description('Make a development PKI. Run again, it adds what is missing and overwrites nothing.')
    .argument('<dir>', 'where the files go')
    .option('--host <name>', 'DNS name or address that the gate is dialled by; repeatable', append, [])
    .option('--client <name>', 'a client to make a certificate for; repeatable', append, [])
    .option('--executor <name>', 'an executor to make a certificate for; repeatable', append, [])
    .option('--gate-name <name>', 'the gate’s name', 'gate')
    .option('--trust-domain <domain>', 'of the identities spiffe://DOMAIN/ROLE/NAME', 'csc.local')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', initHelp);
  act<[string, PkiInitOptions]>(init, makePki);
  const issue = command
    .command('issue')
    .summary('issue one more certificate')
    .description('Issue a certificate of the CA in a directory.')
    .addArgument(command.createArgument('<role>', 'whose it is').choices(['client', 'executor']))
    .argument('<name>', 'letters, digits, ., _ and -')
    .requiredOption('--dir <dir>', 'the directory that csc pki init made')
    .option('--trust-domain <domain>', 'of the identities spiffe://DOMAIN/ROLE/NAME', 'csc.local')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', issueHelp);
  act<['client' | 'executor', string, PkiIssueOptions]>(issue, issueInto);
}
