import type { Command } from 'commander';
import { parseDuration } from '../action/options.ts';

/** Adds what every command has that signs with an approver's key. */
export function addReviewOptions(command: Command): Command {
  return command
    .option(
      '--approver-key <key>',
      'what signs: a private key file (csc keygen’s or OpenSSH’s), agent (the SSH agent’s only key that can) or agent:FINGERPRINT (default: CSC_APPROVER_KEY, or agent)',
    )
    .option('--group <name>', 'as whose member you speak, where you are asked in several groups')
    .option('--owners <dir>', 'the owners’ policy repository, by which all of it is verified here')
    .option('--expires <time>', 'how long it is good for: 30m, 8h (default: 1h)', parseDuration);
}

export const reviewHelp = `
You are shown all of it: the contract with every invisible character made visible, what has changed since the last one of
its kind, what the policy finds, who asks and who has agreed. What is signed is what was shown: its hash, its findings and
the submission are reckoned here, and what is only the gate’s word is called so. --owners verifies more of it.

A person answers, at a terminal: there is no --yes, and no answer is taken from a pipe. Keys: of csc keygen; of OpenSSH,
which asks for the passphrase, or for the touch of a security key (ssh-keygen -t ed25519-sk); or in its agent.
`;
