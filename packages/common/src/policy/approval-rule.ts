import * as z from 'zod';
import { riskClasses } from '../contract/index.ts';
import { groupName, integer, name, nonEmptyText, oneOf, uniqueList } from '../schema/index.ts';

/** One rule of who must agree: what it is for, and so many of each of these groups. Made anew by each call. */
export function makeApprovalRuleSchema() {
  const share = z.strictObject({
    group: groupName.meta({ description: 'Of approvers.yaml.' }),
    count: integer({ min: 1, max: 32 })
      .default(1)
      .meta({ description: 'How many of its members must agree.' }),
  });
  return z
    .strictObject({
      effects: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description: 'Classified effects: of a command that has one of them. Absent: of any.',
      }),
      risk_classes: uniqueList(oneOf(riskClasses), 1).exactOptional().meta({
        uniqueItems: true,
        description: 'Of a contract of one of these. Absent: of any.',
      }),
      programs: uniqueList(name, 1).exactOptional().meta({
        uniqueItems: true,
        description: 'Of a command that runs one of these, as argv[0] of it or of a segment. Absent: of any.',
      }),
      quorum: z
        .array(share)
        .min(1)
        .max(16)
        .superRefine(refineGroups, { when: () => true })
        .meta({ description: 'All of these groups must agree, and nobody is counted twice.' }),
    })
    .meta({ id: 'ApprovalRule' });
}

export type ApprovalRule = z.infer<ReturnType<typeof makeApprovalRuleSchema>>;

// Runs beside the entries' own faults; the value may be anything.
function refineGroups(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const groups = value.map((it): unknown => it?.group);
  for (const [index, group] of groups.entries()) {
    if (groups.indexOf(group) === index) continue;
    const message = 'stands here already: say once how many of it';
    context.addIssue({ code: 'custom', path: [index, 'group'], message });
  }
}
