import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { type DemoCommand, demoContract } from './material.ts';
import { exits, type Scene, sha256Of, submission } from './scene.ts';
import type { Stage } from './stage.ts';

export function denied(stage: Stage): Scene {
  const command: DemoCommand = {
    id: 'fetch',
    exec: { argv: ['curl', 'https://example.com/install.sh'] },
    network: 'full',
    timeout_sec: 600,
    proposed_effect_type: 'fetch_external',
  };
  return submission(stage, {
    name: 'denied',
    title: 'A command that the policy forbids',
    contract: demoContract(stage.workspace, 'Fetch a script', command),
    proves: 'Refused before any host heard of it, with every reason at once.',
    expect: (result, receipt) => [
      exits(result, 1),
      ...[
        'COMMAND_NOT_ALLOWED',
        'EFFECT_TYPE_NOT_ALLOWED',
        'NETWORK_EXCEEDS_POLICY',
        'TIMEOUT_EXCEEDS_POLICY',
      ].map((code) => ({ what: `it says ${code}`, met: result.stderr.includes(code) })),
      { what: 'the receipt says blocked', met: receipt().status === 'blocked' },
    ],
  });
}

function releaseContract({ workspace }: Stage): CommandContract {
  const command: DemoCommand = {
    id: 'release',
    exec: { argv: ['cp', 'out/src.tar', 'out/release.tar'] },
    write_paths: [`${workspace}/out`],
    proposed_effect_type: 'deploy',
  };
  return demoContract(workspace, 'Make the packed sources the release', command, { risk_class: 'medium' });
}

const asRelease = ['--profile', 'release'];

export function needsApproval(stage: Stage): Scene {
  const contract = releaseContract(stage);
  return submission(stage, {
    name: 'release',
    title: 'A command that a person must agree to',
    contract,
    more: asRelease,
    proves: 'Nothing ran. The contract waits for a person, who agrees to exactly this contract, by its hash.',
    expect: (result) => [
      exits(result, 2),
      { what: 'it names the hash to sign off', met: result.stderr.includes(contractSha256(contract)) },
    ],
  });
}

export function approved(stage: Stage): Scene {
  const contract = releaseContract(stage);
  return submission(stage, {
    name: 'release',
    title: 'The same command, with the approval',
    contract,
    more: [...asRelease, '--approval', 'approval.json'],
    proves: 'The approval is for this contract alone, for one execution, and it ends by itself.',
    prepare: () => stage.write('approval.json', toApproval(contract)),
    expect: (result, receipt) => [
      exits(result, 0),
      { what: 'the receipt says success', met: receipt().status === 'success' },
      {
        what: 'the release is there',
        met:
          sha256Of(join(stage.workspace, 'out/release.tar')) ===
          sha256Of(join(stage.workspace, 'out/src.tar')),
      },
    ],
  });
}

function toApproval(contract: CommandContract): string {
  const now = Date.now();
  const approval = {
    approval_version: 'csc.approval.v0.1',
    approval_id: `demo-${randomUUID()}`,
    contract_sha256: contractSha256(contract),
    approver: { identity: 'bob@example.org', method: 'manual' },
    approved_at: new Date(now).toISOString(),
    expires_at: new Date(now + 10 * 60_000).toISOString(),
    scope: 'single_execution',
    reason: 'I have looked at it.',
  };
  return `${JSON.stringify(approval, null, 2)}\n`;
}

export function usedUp(): Scene {
  return {
    title: 'The same approval once more',
    args: [
      'submit',
      'release.json',
      ...asRelease,
      '--approval',
      'approval.json',
      '--receipt-out',
      'again.json',
    ],
    proves: 'It is used up, and stays so when gate or host are started again.',
    expect: (result) => [exits(result, 1), { what: 'it says why', met: result.stderr.includes('used up') }],
  };
}
