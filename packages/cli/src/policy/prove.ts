import { type Containment, compareReach } from '@csc-fleet/common/containment';
import { evaluate, findHostRefusals } from '@csc-fleet/common/decision';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { exitCodes } from '../action/exit-codes.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { readProfile } from './profiles.ts';

interface ProveOptions {
  readonly contract?: string;
  readonly json?: true;
}

type Wider = Extract<Containment, { kind: 'wider' }>;

/**
 * Says whether a new policy allows anything that an old one does not, and shows a contract that it does. Resolves to 0 where
 * it is proved that it does not, else to 1.
 */
export async function provePolicies(
  oldPath: string,
  newPath: string,
  { contract: file, json }: ProveOptions,
): Promise<number> {
  const [old, now] = [await readProfile(oldPath), await readProfile(newPath)];
  const found = compareReach(old, now);
  if (found.kind === 'wider' && file !== undefined)
    writeFileWhole(file, `${JSON.stringify(found.question.contract, null, 2)}\n`);
  if (json === true) await writeJson(toJson(found, old, now));
  else await writeOut(`${describe(found, old, now).join('\n')}\n`);
  if (found.kind === 'wider' && file === undefined && json !== true)
    note('csc: --contract FILE writes that contract, for csc check');
  return found.kind === 'contained' ? exitCodes.ok : exitCodes.no;
}

function describe(found: Containment, old: PolicyDocument, now: PolicyDocument): string[] {
  const paint = createPaint(process.stdout);
  if (found.kind === 'contained')
    return [
      `${paint(['green', 'bold'], 'PROVED')} — everything that the new policy allows, the old one allows, and gives no less`,
    ];
  if (found.kind === 'unknown')
    return [
      `${paint(['yellow', 'bold'], 'NOT PROVED')} — no contract was found that the new policy allows and the old one does not, but these rules may let one through:`,
      ...found.about.map((it) => `  ${plainLine(it)}`),
    ];
  return [
    `${paint(['red', 'bold'], 'WIDER')} — by ${plainLine(found.about)}`,
    ...(found.gives === undefined ? [] : [`  it gives ${plainLine(found.gives)}`]),
    ...found.also.map((it) => `  it gives ${plainLine(it)}`),
    `  old: ${answer(found, old)}`,
    `  new: ${answer(found, now)}`,
    ...conditions(found).map((it) => `  ${it}`),
    JSON.stringify(found.question.contract, null, 2),
  ];
}

function conditions({ question: { asked, host } }: Wider): string[] {
  return [
    ...(host.inlineCode ? ['on a host that lets inline code in'] : []),
    ...(asked.terminal === true ? ['on a terminal (csc submit --tty)'] : []),
  ];
}

function answer({ question: { contract, asked, host } }: Wider, document: PolicyDocument): string {
  const { verdict, reasons } = evaluate(contract, document, host, asked);
  const [refusal] = findHostRefusals(contract, document, host);
  return plainLine(
    refusal === undefined ? `${verdict}: ${reasons[0]}` : `refused by hosts: ${refusal.message}`,
  );
}

function toJson(found: Containment, old: PolicyDocument, now: PolicyDocument): object {
  if (found.kind !== 'wider')
    return { result: found.kind, ...('about' in found ? { about: found.about } : {}) };
  const { about, gives, also, question } = found;
  return {
    result: 'wider',
    about,
    ...(gives === undefined ? {} : { gives, also }),
    old: answer(found, old),
    new: answer(found, now),
    terminal: question.asked.terminal === true,
    inline_code: question.host.inlineCode,
    contract: question.contract,
  };
}
