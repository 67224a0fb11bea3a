import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addReviewOptions, reviewHelp } from '../approve/options.ts';
import { type ReviewOptions, reviewExecution, tellReview } from '../approve/review.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { addGateAddressOptions, gateAddressHelp } from '../connect/gate-options.ts';

const help = `
Has one signed submission run without the approvals that its policy asks for, where nobody can be asked. Only members of
the groups may that the owners name for it (break_glass in approvers.yaml), for an hour at most, and everybody is told: it
stands in the receipt, in the audit and in the gate’s warnings. What the policy denies stays denied.
${reviewHelp}${gateAddressHelp}
Example:
  $ csc break-glass EXECUTION --reason 'INC-42: the site is down, and nobody of sre answers' --approver-key agent
`;

export function defineBreakGlass(command: Command): void {
  command
    .description('Have something run without its approvals, in an emergency.')
    .argument('<execution>', 'its id, or its first characters, four or more');
  addReviewOptions(addGateAddressOptions(command))
    .requiredOption('--reason <text>', 'why nobody could be asked, ten characters at least')
    .addHelpText('after', help);
  act<[string, Omit<ReviewOptions, 'keys'>]>(command, async (named, options) => {
    const all = { ...options, keys: [] };
    using client = connectGate(all);
    const reviewed = await reviewExecution(client, named, 'break_glass', all);
    if (reviewed === undefined) return exitCodes.no;
    tellReview(reviewed, 'break_glass');
    return exitCodes.ok;
  });
}
