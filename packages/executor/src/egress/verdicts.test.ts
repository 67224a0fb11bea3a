import { describe, expect, it } from 'vitest';
import { describeAuthority } from './refusal.ts';
import { createVerdictLog, type EgressVerdict, mergeSummaries, VerdictCounts } from './verdicts.ts';

const verdict = (host: string, denied = false): EgressVerdict => ({
  at: new Date(0),
  protocol: 'http',
  host,
  port: 80,
  ...(denied ? { verdict: 'denied', reason: 'not_listed' } : { verdict: 'allowed' }),
});

describe('VerdictCounts', () => {
  it('counts equal verdicts, what was allowed first and then the most frequent', () => {
    const counts = new VerdictCounts();
    for (const [host, denied] of [
      ['b', true],
      ['a', true],
      ['a', true],
      ['z', false],
      ['c', true],
    ] as const) {
      counts.add(verdict(host, denied));
    }
    expect(counts.summary()).toEqual({
      allowed: 1,
      denied: 4,
      hosts: [
        { host: 'z', port: 80, verdict: 'allowed', count: 1 },
        { host: 'a', port: 80, verdict: 'denied', reason: 'not_listed', count: 2 },
        { host: 'b', port: 80, verdict: 'denied', reason: 'not_listed', count: 1 },
        { host: 'c', port: 80, verdict: 'denied', reason: 'not_listed', count: 1 },
      ],
    });
  });

  it('shows what was allowed after any number of what was not, within 64 entries', () => {
    const counts = new VerdictCounts();
    for (let index = 0; index < 10_000; index += 1) counts.add(verdict(`n${index}`, true));
    counts.add(verdict('reached'));
    const summary = counts.summary();
    expect(summary).toMatchObject({ allowed: 1, denied: 10_000, omitted: 10_001 - 64 });
    expect(summary.hosts).toHaveLength(64);
    expect(summary.hosts[0]).toMatchObject({ host: 'reached', verdict: 'allowed' });
  });
});

describe('mergeSummaries', () => {
  it('adds up', () => {
    const counts = new VerdictCounts();
    counts.add(verdict('a'));
    counts.add(verdict('b', true));
    const one = counts.summary();
    expect(mergeSummaries([one, { ...one, omitted: 2 }])).toEqual({
      allowed: 2,
      denied: 2,
      hosts: one.hosts.map((entry) => ({ ...entry, count: 2 })),
      omitted: 2,
    });
    expect(mergeSummaries([])).toEqual({ allowed: 0, denied: 0, hosts: [] });
  });
});

describe('createVerdictLog', () => {
  it('keeps what a requester wrote short and printable', () => {
    const seen: EgressVerdict[] = [];
    const log = createVerdictLog((one) => seen.push(one));
    log.deny({ protocol: 'connect', host: `\x1b[2Jä ${'x'.repeat(1000)}`, port: 1 }, 'bad_name');
    log.deny({ protocol: 'socks5', host: '', port: 0 }, 'bad_request');
    log.allow({ protocol: 'http', host: 'a.test', port: 80 });
    expect(seen[0]?.host).toMatch(/^\?\[2J\?\?x+$/);
    expect(seen[0]?.host).toHaveLength(253);
    expect(seen.slice(1).map(({ host, reason }) => [host, reason])).toEqual([
      ['(none)', 'bad_request'],
      ['a.test', undefined],
    ]);
    expect(log.summary()).toMatchObject({ allowed: 1, denied: 2 });
  });
});

describe('describeAuthority', () => {
  it.each([
    ['A.test:443', 'a.test', 443],
    ['127.0.0.1:80', '127.0.0.1', 80],
    ['[::1]:443', '[::1]', 443],
    ['user:secret@a.test:443', '*@a.test', 443],
    ['a.test:99999', 'a.test:99999', 0],
    ['', '', 0],
  ])('of %j is %j:%i', (text, host, port) => {
    expect(describeAuthority(text)).toEqual({ host, port });
  });
});
