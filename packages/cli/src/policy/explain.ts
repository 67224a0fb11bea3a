import { explain } from '@csc-fleet/common/decision';
import { CscError } from '@csc-fleet/common/errors';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';
import { exitCodes } from '../action/exit-codes.ts';
import { readContractInput, readPolicyInput } from '../check/decide.ts';
import { describeFindings } from '../show/decision.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { toTable } from '../terminal/table.ts';
import { createPaint } from '../terminal/text.ts';
import { isFolder } from './profiles.ts';

interface ExplainOptions {
  readonly json?: true;
  readonly profile?: string;
  readonly allowInlineCode?: true;
  readonly tty?: true;
}

/**
 * Shows what each profile decides of a contract, and by which rule each of its members passes or fails. Resolves to 0 where
 * one allows it, to 2 where one would with an approval, and else to 1.
 */
export async function explainContract(
  path: string,
  policies: string,
  options: ExplainOptions,
): Promise<number> {
  const contract = await readContractInput(path);
  const explanations = (await readProfiles(policies, options.profile)).map((document) => ({
    profile: document.policy.name,
    ...explain(
      contract,
      document,
      { inlineCode: options.allowInlineCode === true },
      { terminal: options.tty === true },
    ),
  }));
  const paint = createPaint(process.stdout);
  for (const [index, explanation] of explanations.entries()) {
    const { profile, verdict, reasonCodes, grounds } = explanation;
    if (options.json === true) {
      await writeJson({
        profile,
        decision: verdict,
        reason_codes: reasonCodes,
        grounds: grounds.map(toJson),
      });
      continue;
    }
    const rows = grounds.map(({ member, asked, rule, findings }) => [
      member,
      cut(asked),
      rule,
      findings.map(({ reasonCode }) => reasonCode).join(', '),
    ]);
    const head = `${paint('bold', profile)}: ${describeFindings({ ...explanation, contractSha256: '' }, paint)}`;
    await writeOut(
      `${index === 0 ? '' : '\n'}${head}\n${toTable(['MEMBER', 'ASKED FOR', 'RULE', 'AGAINST IT'], rows)}`,
    );
  }
  const verdicts = explanations.map(({ verdict }) => verdict);
  if (verdicts.includes('allow')) return exitCodes.ok;
  return verdicts.includes('needs_approval') ? exitCodes.needsApproval : exitCodes.no;
}

async function readProfiles(path: string, name: string | undefined): Promise<readonly PolicyDocument[]> {
  if (!isFolder(path)) return [await readPolicyInput(path)];
  const set = readPolicyDirectory(path);
  if (name === undefined) return set.all();
  const document = set.byName(name);
  if (document !== undefined) return [document];
  const names = set.all().map(({ policy }) => policy.name);
  throw new CscError('POLICY_INVALID', `${path} has no profile ${name}; it has ${names.join(', ')}`);
}

function cut(text: string): string {
  const characters = [...text];
  return characters.length <= 60 ? text : `${characters.slice(0, 59).join('')}…`;
}

function toJson({ findings, ...ground }: ReturnType<typeof explain>['grounds'][number]): object {
  return {
    ...ground,
    findings: findings.map(({ reasonCode, message }) => ({ reason_code: reasonCode, message })),
  };
}
