import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, defaultKeyId, generateKeyPair, toBase64 } from '@csc-fleet/common/crypto';
import { ExecutionState } from '@csc-fleet/common/messages';
import { tokenAudience } from '@csc-fleet/common/oidc';
import {
  type Agent,
  makeSshKey,
  startSshAgent,
  startTokenAgent,
  type TokenWish,
} from '@csc-fleet/test-kit/cli/ssh-agent';
import { cscOnTerminal } from '@csc-fleet/test-kit/cli/terminal';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { githubClaims, githubPrincipal, TestIssuer } from '@csc-fleet/test-kit/issuer';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { csc, freshCsc } from '@csc-fleet/test-kit/process';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const who = (name: string): string => `spiffe://csc.local/client/${name}`;
const aliceKey = generateKeyPair();
// As csc names it.
const submitter = createSigner(aliceKey.seed, defaultKeyId(who('alice'), aliceKey.publicKey));

let fleet: Fleet;
let owners: string;
let agent: Agent;
let token: Agent & { readonly line: string };
const touch: { -readonly [K in keyof TokenWish]: TokenWish[K] } = { flags: 1, touch: 'given' };
let alice: GateClient;
let ci: TestIssuer;

/** The key of carol, made by csc keygen. */
const carol = generateKeyPair();

const hookSecret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
/** What the receiver of webhooks was told, each verified by the library. */
const told: unknown[] = [];
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const headers = request.headers as Record<string, string>;
    told.push(new Webhook(hookSecret).verify(Buffer.concat(chunks).toString(), headers));
    response.end();
  });
});

beforeAll(async () => {
  const port = await freePort();
  receiver.listen(port, '127.0.0.1');
  fleet = await startFleet({
    clients: ['bob', 'carol', 'dave', 'erin'],
    gate: {
      policies: undefined,
      bindings: undefined,
      policy_repository: { directory: 'owners', root: 'root.json', refresh_sec: 3600 },
      accept_tokens: true,
      webhooks: [{ url: `http://127.0.0.1:${port}/`, secret_file: 'hook.secret' }],
    },
    executors: [
      {
        name: 'host-1',
        config: {
          policies: undefined,
          policy_repository: { root: 'root.json', from: 'gate', refresh_sec: 3600 },
        },
      },
    ],
    prepare: async (directory) => {
      writeFileSync(join(directory, 'alice.key'), aliceKey.privatePem, { mode: 0o600 });
      writeFileSync(join(directory, 'hook.secret'), hookSecret, { mode: 0o600 });
      agent = await startSshAgent(directory);
      token = await startTokenAgent(directory, touch);
      const bob = makeSshKey(directory, 'bob');
      execFileSync('ssh-add', ['-q', bob], { env: { ...process.env, ...agent.env } });
      const bobLine = execFileSync('ssh-add', ['-L'], {
        env: { ...process.env, ...agent.env },
        encoding: 'utf8',
      });
      writeFileSync(join(directory, 'carol.key'), carol.privatePem, { mode: 0o600 });
      const entry = (name: string, publicKey: string) => ({
        identity: who(name),
        keys: [{ public_key: publicKey }],
      });
      ci = await TestIssuer.make(undefined, 'ES256');
      owners = join(directory, 'owners');
      const repository = new TestRepository(owners);
      repository.publish({
        'policies/tests.yaml': testPolicy(join(directory, 'workspace'), {
          policy_schema_version: 'csc.policy.v0.2',
          allowed_risk_classes: ['low', 'critical'],
          approvals: [
            { quorum: [{ group: 'sre', count: 1 }], risk_classes: ['low'] },
            { quorum: [{ group: 'sre', count: 2 }], risk_classes: ['critical'] },
          ],
        }),
        'policies/bound.yaml': testPolicy(join(directory, 'workspace'), {
          policy_schema_version: 'csc.policy.v0.2',
          name: 'bound',
          binding: 'host',
          approvals: [{ quorum: [{ group: 'sre', count: 1 }] }],
        }),
        'issuers.yaml': { issuers_version: 'csc.issuers.v0.1', issuers: [ci.pinned()] },
        'bindings.yaml': {
          bindings_version: 'csc.bindings.v0.2',
          bindings: [
            { identity: who('alice'), policies: ['tests'], roles: ['admin'] },
            { identity: githubPrincipal, policies: ['bound'] },
          ],
          submitters: [
            {
              principal: who('alice'),
              keys: [{ key_id: submitter.keyId, public_key: toBase64(submitter.publicKey) }],
            },
          ],
        },
        'approvers.yaml': {
          approvers_version: 'csc.approvers.v0.1',
          approvers: [
            entry('bob', bobLine.trim()),
            entry('carol', toBase64(carol.publicKey)),
            entry('dave', token.line),
          ],
          groups: [
            { name: 'sre', members: [who('bob'), who('carol'), who('dave')] },
            { name: 'oncall', members: [who('dave')] },
          ],
          break_glass: { groups: ['oncall'], max_sec: 600 },
        },
      });
      writeFileSync(join(directory, 'root.json'), repository.root);
    },
  });
  alice = connect({ address: fleet.address, tls: fleet.tls('alice'), submitter });
});
afterAll(async () => {
  alice.close();
  await fleet[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  await token[Symbol.asyncDispose]();
  receiver.closeAllConnections();
  receiver.close();
});

async function submit(overrides: Partial<CommandContract> = {}) {
  const contract = fleet.contract({ argv: ['echo', 'agreed'] }, overrides);
  const { executionId, state } = await alice.submit(contract);
  expect(state).toBe(ExecutionState.AWAITING_APPROVAL);
  return { executionId, hash: contractSha256(contract).slice(0, 8) };
}

/** What csc audit has of this kind of an execution. */
async function audited(executionId: string, kind: string, ...options: readonly string[]) {
  const { stdout } = await fleet.csc(['audit', ...options]);
  const records: AuditLine[] = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return records.filter(
    ({ metadata: { correlation_uid: id, event_code: code } }) => id === executionId && code === kind,
  );
}

interface AuditLine {
  readonly metadata: { readonly correlation_uid?: string; readonly event_code: string };
}

/** Runs csc on a terminal as this person, and answers each question as it comes. */
async function onTerminal(name: string, args: readonly string[], answers: readonly [RegExp, string][] = []) {
  const own = { ...fleet.environment(name), ...(name === 'dave' ? token.env : agent.env) };
  const there = cscOnTerminal(args, own);
  for (const [question, answer] of answers) {
    await there.waitFor(question);
    there.pty.write(`${answer}\r`);
  }
  return there.ended;
}

describe('csc approve at a terminal', () => {
  it('an SSH agent’s key agrees to what was shown, the host runs it, and the receipt says who agreed', async () => {
    const { executionId, hash } = await submit();
    const listed = await fleet.csc(['approvals'], { as: 'bob' });
    expect(listed.stdout).toMatch(new RegExp(`${executionId} WAITS\n  asks     ${who('alice')}`));
    expect(listed.stdout).toContain('wanted   0 of 1 of sre\n  missing  1 person\n');
    const short = executionId.slice(0, 8);
    expect(listed.stdout).toContain(`next     csc approve ${short}, or csc reject ${short} --reason TEXT`);
    const { screen, code } = await onTerminal(
      'bob',
      [
        'approve',
        executionId.slice(0, 8),
        '--owners',
        owners,
        '--ticket',
        'CHG-1',
        '--reason',
        'it was planned',
      ],
      [[/Type [0-9a-f]{8}, as the sha256 above begins: /, hash]],
    );
    expect(screen).toMatch(/approved; execution .* is (?:queued|offered|running|succeeded)/);
    expect(code).toBe(0);
    expect(screen).not.toContain('DOUBT');
    const { receipt, exitCode } = await alice.follow(executionId);
    expect(exitCode).toBe(0);
    expect(JSON.stringify(receipt)).toContain(who('bob'));
    expect((await fleet.csc(['approvals', '--json'], { as: 'bob' })).stdout).toBe('');
    const types = () => told.filter((it) => JSON.stringify(it).includes(executionId));
    await expect.poll(types).toHaveLength(2);
    expect(types()).toMatchObject([
      { type: 'approval.wanted' },
      { type: 'approval.given', data: { approver: who('bob') } },
    ]);
  });

  it('an unsigned approval is warned of where groups are asked, and csc get --follow waits until they agree', async () => {
    const path = join(fleet.directory, 'waits.json');
    const contract = fleet.contract({ argv: ['echo', 'waited for'] });
    writeFileSync(path, JSON.stringify(contract));
    const short = await fleet.csc(['approve', 'abc']);
    expect(short.stderr).toContain(
      'there is no file abc, and it is no execution either: give its id, or four',
    );
    const unsigned = await fleet.csc(['approve', path, '--contract-sha256', 'a'.repeat(64)]);
    expect(unsigned.stderr).toContain(
      'WARNING this policy asks groups: an unsigned v0.1 approval does not count',
    );
    const { executionId, hash } = await submit();
    const got = await fleet.csc(['get', executionId]);
    expect(got.stdout).toMatch(
      new RegExp(`^missing .*1 of sre: they agree with csc approve ${executionId}$`, 'm'),
    );
    const followed = fleet.csc(['get', executionId, '--follow']);
    await onTerminal(
      'carol',
      ['approve', executionId, '--approver-key', join(fleet.directory, 'carol.key')],
      [[/sha256 above begins: /, hash]],
    );
    expect(await followed).toMatchObject({ code: 0, stdout: 'agreed\n' });
  });

  it('two people agree to what is critical, each asked twice; one alone is not enough', async () => {
    const { executionId, hash } = await submit({ risk_class: 'critical' });
    const answers: [RegExp, string][] = [
      [/sha256 above begins: /, hash],
      [/Once more: risk critical.*Type yes: /s, 'yes'],
    ];
    const first = await onTerminal(
      'carol',
      ['approve', executionId, '--approver-key', join(fleet.directory, 'carol.key')],
      answers,
    );
    expect(first.screen).toContain('is awaiting_approval; 1 more must agree');
    // Before anything is shown.
    const again = await onTerminal('carol', [
      'approve',
      executionId,
      '--approver-key',
      join(fleet.directory, 'carol.key'),
    ]);
    expect(again.screen).toContain('has agreed already, and is counted once');
    const strange = await onTerminal('dave', [
      'approve',
      executionId,
      '--approver-key',
      join(fleet.directory, 'carol.key'),
    ]);
    expect(strange.screen.replaceAll(/\s+/g, ' ')).toMatch(/no such key of \S+dave, as the gate has it/);
    for (const early of [again, strange]) expect(early.screen).not.toContain('Contract');
    const refused = await onTerminal(
      'dave',
      ['approve', executionId],
      [answers[0] ?? [/x/, ''], [/Type yes: /, 'y']],
    );
    expect(refused.screen).toContain('nothing was signed');
    expect(refused.code).toBe(1);
    const second = await onTerminal('dave', ['approve', executionId, '--owners', owners], answers);
    expect(second.screen).toMatch(/client\/carol for sre, .* \(signature verified\)/);
    expect(second.screen).toContain('touch the security key');
    expect(second.code).toBe(0);
    expect((await alice.follow(executionId)).exitCode).toBe(0);
    const given = await audited(executionId, 'approval.given');
    const one = (uid: string) => ({
      actor: { user: { uid } },
      unmapped: { approvers: [uid] },
      severity_id: 1,
    });
    expect(given).toMatchObject([one(who('carol')), one(who('dave'))]);
    expect(await audited(executionId, 'submission.decided')).toMatchObject([{ unmapped: {} }]);
  });

  it('a security key that nobody touched signs nothing that counts', async () => {
    const { executionId, hash } = await submit();
    touch.flags = 0;
    const { screen, code } = await onTerminal(
      'dave',
      ['approve', executionId, '--group', 'sre'],
      [[/begins: /, hash]],
    );
    touch.flags = 1;
    expect(screen).toMatch(/nobody touched the security key/);
    expect(code).toBe(1);
    await alice.cancel(executionId);
  });

  it('a CI job whose run waited for people comes back with its key, names the host and sees its end', async () => {
    const key = generateKeyPair();
    const file = (name: string): string => join(fleet.directory, name);
    const token = async (number: number): Promise<void> => {
      const aud = tokenAudience('csc.local', key.publicKey);
      writeFileSync(file('token'), await ci.sign({ ...githubClaims, aud, jti: `job-${number}` }));
    };
    writeFileSync(file('job.key'), key.privatePem, { mode: 0o600 });
    const contract = fleet.contract({ argv: ['echo', 'from ci'] });
    writeFileSync(file('ci.json'), JSON.stringify(contract));
    // No certificate of anybody's is near.
    const env = { ...fleet.environment(), CSC_CERT: '', CSC_KEY: '' };
    const byToken = (...args: string[]) =>
      csc([...args, '--oidc', `file:${file('token')}`, '--oidc-key', file('job.key')], { env });
    await token(1);
    const submitted = await byToken('submit', file('ci.json'), '--detach');
    expect([submitted.code, submitted.stderr]).toEqual([2, expect.stringContaining('1 of sre')]);
    const executionId = submitted.stdout.trim();
    await onTerminal('bob', ['approve', executionId], [[/begins: /, contractSha256(contract).slice(0, 8)]]);
    await token(2);
    expect((await byToken('list')).stdout).toContain(executionId);
    expect((await byToken('status')).stdout).toMatch(/its submitter, who is to name/);
    expect(await byToken('get', executionId, '--follow')).toMatchObject({ code: 0, stdout: 'from ci\n' });
    expect((await fleet.csc(['get', executionId, '--oidc-key', 'x'])).stderr).toContain('say with --oidc');
    writeFileSync(file('token'), 'junk');
    const junk = { code: 78, stderr: expect.stringMatching(/^ERROR — \S+token has no OIDC token/) };
    expect(await byToken('list')).toMatchObject(junk);
    const none = await csc(['list', '--oidc', 'file:no-token'], { env });
    expect(none).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/^ERROR — failed to read no-token/),
    });
    const [decided] = await audited(executionId, 'submission.decided');
    const name = {
      issuer: ci.url,
      subject: githubClaims.sub,
      binding: 'key',
      token_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    };
    expect(decided).toMatchObject({ unmapped: { token: name } });
  });

  it('what is agreed to for every submission until it expires is a file that further ones are handed in with', async () => {
    const contract = fleet.contract({ argv: ['echo', 'again'] });
    const [path, out] = ['again.json', 'bob.json'].map((name) => join(fleet.directory, name));
    writeFileSync(String(path), JSON.stringify(contract));
    const { executionId } = await alice.submit(contract);
    const approve = ['approve', executionId, '--any-submission', '--out', String(out)];
    const { screen } = await onTerminal('bob', approve);
    expect(screen).toContain('--out is for an approval of further submissions');
    const hash = contractSha256(contract).slice(0, 8);
    await onTerminal('bob', [...approve, '--scope', 'time_window'], [[/begins: /, hash]]);
    expect((await alice.follow(executionId)).exitCode).toBe(0);
    const submitter = ['--submitter-key', join(fleet.directory, 'alice.key')];
    const again = () => fleet.csc(['submit', String(path), '--approval', String(out), ...submitter]);
    for (const _ of ['once', 'twice']) {
      expect(await again()).toMatchObject({ code: 0, stdout: 'again\n' });
    }
    const other = fleet.contract({ argv: ['echo', 'something else'] });
    writeFileSync(String(path), JSON.stringify(other));
    expect(await again()).toMatchObject({
      stdout: '',
      stderr: expect.stringContaining('it is for another contract'),
    });
  });

  it('waits for people for as long as its submitter says, and says until when as it begins to wait', async () => {
    const contract = fleet.contract({ argv: ['echo', 'patience'] });
    const path = join(fleet.directory, 'patience.json');
    writeFileSync(path, JSON.stringify(contract));
    const submit = ['submit', path, '--submitter-key', join(fleet.directory, 'alice.key')];
    const hoursUntil = (text: string, at: RegExp) =>
      (Date.parse(at.exec(text)?.[1] ?? '') - Date.now()) / 3_600_000;
    const nobody = await fleet.csc(['approvals'], { as: 'alice' });
    expect(nobody.stderr).toMatch(
      /this is for approvers.*\nWhat to do: ask the owners, who say there who is in which/,
    );
    const usual = await fleet.csc([...submit, '--detach']);
    expect(hoursUntil(usual.stderr, /waits for it until (\S+)\.\n/)).toBeCloseTo(65 / 60, 1);
    expect(usual.stderr).toContain('--wait-for-approval TIME says how long it stands');
    const long = await fleet.csc([...submit, '--detach', '--wait-for-approval', '9h']);
    expect(hoursUntil(long.stderr, /waits for it until (\S+)\.\n/)).toBeCloseTo(9, 1);
    for (const { stdout } of [usual, long]) await alice.cancel(stdout.trim());
    expect((await fleet.csc([...submit, '--wait-for-approval', '25h'])).stderr).toContain('24h at most');
    const stays = fleet.csc([...submit, '--wait-for-approval', '8h']);
    let waiting = '';
    while (waiting === '') waiting = (await fleet.csc(['approvals', '--json'], { as: 'bob' })).stdout;
    const { execution_id: executionId, until } = JSON.parse(waiting) as Record<string, string>;
    expect((Date.parse(String(until)) - Date.now()) / 3_600_000).toBeCloseTo(8, 1);
    const hash = contractSha256(contract).slice(0, 8);
    await onTerminal('bob', ['approve', String(executionId)], [[/begins: /, hash]]);
    const ended = await stays;
    expect(ended).toMatchObject({ code: 0, stdout: 'patience\n' });
    expect(
      hoursUntil(ended.stderr, /needs an approval by policy tests, and starts by (\S+) or never/),
    ).toBeCloseTo(8, 1);
  });

  it('a rejection ends it, with its reason', async () => {
    const { executionId, hash } = await submit();
    // Without a reason it is the submitter's own, and theirs alone.
    for (const named of [executionId, executionId.slice(0, 8)]) {
      const forgot = await fleet.csc(['reject', named], { as: 'bob' });
      expect([forgot.code, forgot.stderr]).toEqual([
        1,
        expect.stringContaining('says no with --reason TEXT'),
      ]);
    }
    const { screen } = await onTerminal(
      'bob',
      ['reject', executionId, '--reason', 'not on a Friday'],
      [[/Reject this\? Type .*begins: /, hash]],
    );
    expect(screen).toMatch(/rejected; execution .* is/);
    const { execution } = await alice.getExecution(executionId);
    expect(execution.state).not.toBe(ExecutionState.AWAITING_APPROVAL);
    expect(execution.error).toContain('not on a Friday');
  });

  it('the glass is broken by its own group alone, after two questions', async () => {
    const { executionId, hash } = await submit();
    const why = ['--reason', 'INC-42: nobody answers'];
    const wrong = await onTerminal('bob', ['break-glass', executionId, ...why]);
    expect(wrong.screen.replaceAll(/\s+/g, ' ')).toContain('may break the glass');
    const { screen } = await onTerminal(
      'dave',
      ['break-glass', executionId, ...why],
      [
        [/BREAK THE GLASS for this\? Type .*begins: /, hash],
        [/Once more: it runs without anybody else’s approval.*Type yes: /s, 'yes'],
      ],
    );
    expect(screen).toContain('the glass is broken');
    expect((await alice.follow(executionId)).exitCode).toBe(0);
    const loud = { severity_id: 4, status_detail: 'break_glass', actor: { user: { uid: who('dave') } } };
    expect(await audited(executionId, 'approval.given', '--outcome', 'break_glass')).toMatchObject([loud]);
    expect(await audited(executionId, 'approval.reviewed')).toMatchObject([loud]);
  });

  it('nothing is agreed to through a pipe: there is no --yes, and no answer from standard input', async () => {
    const { executionId, hash } = await submit();
    for (const command of [
      ['approve'],
      ['reject', '--reason', 'no'],
      ['break-glass', '--reason', 'there is nobody'],
    ]) {
      const [name = '', ...rest] = command;
      const { code, stderr } = await freshCsc([name, executionId, ...rest], {
        env: { ...fleet.environment('dave'), ...token.env },
        input: `${hash}\nyes\n`,
      });
      expect(stderr).toMatch(/asks a person, .* takes no answer from a pipe/);
      expect(code).toBe(78);
    }
    expect((await fleet.csc(['approve', executionId, '--yes'], { as: 'bob' })).stderr).toContain(
      "unknown option '--yes'",
    );
    expect((await alice.getExecution(executionId)).execution.state).toBe(ExecutionState.AWAITING_APPROVAL);
    await alice.cancel(executionId);
  });

  it('who is no approver is told so, and a key’s line for approvers.yaml is printed', async () => {
    const { stderr, code } = await fleet.csc(['approvals'], { as: 'erin' });
    expect(stderr).toContain('client/erin is none');
    expect(code).toBe(77);
    const env = { ...fleet.environment('dave'), ...token.env };
    const file = join(fleet.directory, 'carol.pub');
    writeFileSync(file, toBase64(carol.publicKey));
    const wrong = await csc(['approvals', '--print-key', '--approver-key', file], { env });
    expect(wrong.stderr).toContain('carol.pub is a public key: name the private one');
    const { stdout } = await csc(['approvals', '--print-key'], { env });
    expect(stdout).toBe(
      `- identity: ${who('dave')}\n  keys:\n    - public_key: ${token.line.split(' ').slice(0, 2).join(' ')}\n`,
    );
  });
});
