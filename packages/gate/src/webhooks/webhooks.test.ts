import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LiveExecution } from '../execution/execution.ts';
import { readWebhooks, webhookEvents, webhooksSchema } from './config.ts';
import { createWebhooks, mostQueued, type Webhooks } from './webhooks.ts';

const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

interface Got {
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

let server: Server;
let got: Got[];
/** What each request in turn is answered. Empty: 200. */
let answers: (number | 'hang' | 'redirect' | 'upgrade')[];
let url: string;
let hooks: Webhooks | undefined;
const warnings: string[] = [];
const outcomes: string[] = [];

beforeEach(async () => {
  got = [];
  answers = [];
  warnings.length = 0;
  outcomes.length = 0;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { url: path = '', method = '', headers } = request;
      got.push({ path, method, headers, text: Buffer.concat(chunks).toString() });
      const answer = answers.shift() ?? 200;
      server.emit('got');
      if (answer === 'hang') return;
      if (answer === 'upgrade') {
        response.socket?.write(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n',
        );
        return;
      }
      response.writeHead(answer === 'redirect' ? 302 : answer, { location: `${url}/elsewhere` });
      response.end('whatever it says');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
});
afterEach(() => {
  hooks?.close();
  server.closeAllConnections();
  server.close();
});

function open(
  more: { delaysMs?: readonly number[]; events?: (typeof webhookEvents)[number][] } = {},
): Webhooks {
  const { events = [...webhookEvents], delaysMs = [1, 1] } = more;
  hooks = createWebhooks(
    [{ url: `${url}/hook`, secret, events, link: 'https://chat.example/{execution_id}' }],
    {
      gateId: 'gate-1',
      clock: systemClock,
      delaysMs,
      onWarning: (message, { why }) => warnings.push(`${message}: ${why}`),
      onNotice: (message) => warnings.push(message),
      ended: (outcome) => {
        outcomes.push(outcome);
        server.emit('ended');
      },
    },
  );
  return hooks;
}

function execution(id: string, state = ExecutionState.AWAITING_APPROVAL): LiveExecution {
  const row = {
    state,
    contract_sha256: 'a'.repeat(64),
    principal: 'spiffe://csc.local/client/alice',
    policy_profile: 'tests',
    decision_expires_at: '2026-11-29T00:00:00.000Z',
    contract_json: 'its contract',
    intent: 'go to http://evil.example and click',
  };
  return { id, row } as unknown as LiveExecution;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Promise.race([once(server, 'got'), once(server, 'ended')]);
}

describe('webhooks', () => {
  it('tell what is wanted once, signed so that the library believes it, with facts and no word of the author', async () => {
    const opened = open();
    opened.saw(execution('e-1'));
    opened.saw(execution('e-1'));
    opened.reviewed(execution('e-1'), {
      verdict: 'reject',
      approver: 'spiffe://csc.local/client/bob',
      group: 'sre',
      approvalId: 'x',
    });
    await until(() => outcomes.length === 2);
    const bodies = got.map(({ text, headers }) =>
      new Webhook(secret).verify(text, headers as Record<string, string>),
    );
    expect(bodies).toMatchObject([
      {
        type: 'approval.wanted',
        data: {
          execution_id: 'e-1',
          principal: 'spiffe://csc.local/client/alice',
          link: 'https://chat.example/e-1',
        },
      },
      { type: 'approval.rejected', data: { approver: 'spiffe://csc.local/client/bob', group: 'sre' } },
    ]);
    expect(JSON.stringify(got)).not.toMatch(/evil|its contract/);
    expect(got.map(({ method }) => method)).toEqual(['POST', 'POST']);
    const [first] = got;
    const forged = { ...(first?.headers as Record<string, string>), 'webhook-id': 'msg_other' };
    expect(() => new Webhook(secret).verify(first?.text ?? '', forged)).toThrow('No matching signature');
    const other = new Webhook(`whsec_${Buffer.alloc(32, 6).toString('base64')}`);
    expect(() => other.verify(first?.text ?? '', first?.headers as Record<string, string>)).toThrow();
  });

  it('try again under the same id, say so once, and give up in the end', async () => {
    answers.push(500, 503);
    const opened = open();
    opened.saw(execution('e-1'));
    await until(() => outcomes.length === 1);
    expect(outcomes).toEqual(['delivered']);
    expect(new Set(got.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(warnings).toEqual([
      'a webhook is not taken: it is tried again: it answers 500',
      'a webhook is taken again',
    ]);
    answers.push(500, 500, 500);
    opened.saw(execution('e-2'));
    await until(() => outcomes.length === 2);
    expect(outcomes).toEqual(['delivered', 'dropped']);
    expect(got).toHaveLength(6);
  });

  it('follow no redirect, and tell nobody of what is not asked for', async () => {
    answers.push('redirect', 'redirect', 'redirect');
    const opened = open({ events: ['break_glass'] });
    opened.saw(execution('e-1'));
    opened.reviewed(execution('e-1'), {
      verdict: 'break_glass',
      approver: 'dave',
      group: 'oncall',
      approvalId: 'y',
    });
    await until(() => outcomes.length === 1);
    expect(outcomes).toEqual(['dropped']);
    expect(got.map(({ path }) => path)).toEqual(['/hook', '/hook', '/hook']);
    expect(warnings[0]).toContain('it answers 302');
  });

  it('are not held up by a receiver that answers with another protocol', async () => {
    answers.push('upgrade', 'upgrade', 'upgrade');
    const opened = open();
    opened.saw(execution('e-1'));
    opened.saw(execution('e-2'));
    await until(() => outcomes.length === 2);
    expect(outcomes).toEqual(['dropped', 'delivered']);
    expect(warnings[0]).toContain('it hung up without an answer');
  });

  it('a dead receiver holds up nothing, and no more than so much waits for it', async () => {
    answers.push('hang');
    const opened = open();
    opened.saw(execution('first'));
    await until(() => got.length === 1);
    for (let at = 0; at < mostQueued + 50; at++) opened.saw(execution(`e-${at}`));
    expect(outcomes).toEqual(Array.from({ length: 51 }, () => 'dropped'));
    expect(warnings).toEqual([
      'a webhook is not taken: it is tried again: it does not keep up: what is new is not told',
    ]);
    opened.close();
    expect(got).toHaveLength(1);
  });

  it('go to https alone, or to this host; their secret is a file that nobody else reads', () => {
    const directory = mkdtempSync(join(tmpdir(), 'csc-hooks-'));
    const file = join(directory, 'secret');
    writeFileSync(file, `${secret}\n`, { mode: 0o600 });
    const parse = (to: string) =>
      webhooksSchema(join(directory, 'gate.yaml')).safeParse([{ url: to, secret_file: 'secret' }]);
    for (const good of [
      'https://chat.example/hook',
      'http://127.0.0.1:8080/x',
      'http://[::1]/',
      'http://localhost/',
    ])
      expect(parse(good).success, good).toBe(true);
    for (const bad of [
      'http://chat.example',
      'http://127.0.0.1.evil.example',
      'ftp://x',
      'https://a:b@chat.example',
      'x',
      'http://169.254.169.254/',
    ])
      expect(parse(bad).success, bad).toBe(false);
    const linked = (link: string) =>
      webhooksSchema(join(directory, 'gate.yaml')).safeParse([{ url, secret_file: 'secret', link }]).success;
    expect(linked('https://wiki.example/{execution_id}?again={execution_id}')).toBe(true);
    for (const link of ['{id}', '{execution_id', '{{execution_id}}', '{execution_id}/{principal}', '}'])
      expect(linked(`https://wiki.example/${link}`), link).toBe(false);
    const entry = { url, secretFile: file, events: [...webhookEvents] };
    expect(readWebhooks([entry])).toMatchObject([{ secret }]);
    chmodSync(file, 0o644);
    expect(() => readWebhooks([entry])).toThrow(/may be read by others/);
    writeFileSync(file, 'whsec_c2hvcnQ=');
    chmodSync(file, 0o600);
    expect(() => readWebhooks([entry])).toThrow(/holds no webhook secret/);
    rmSync(directory, { recursive: true });
  });
});
