import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as immediate } from 'node:timers/promises';
import { checkApproval, parseApproval } from '@csc-fleet/common/approval';
import { createCollector } from '@csc-fleet/common/collect';
import { contractSha256 } from '@csc-fleet/common/contract';
import { orThrow, showInvisible } from '@csc-fleet/common/errors';
import { OutputStream } from '@csc-fleet/common/messages';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { cscOnBlankTerminal, cscOnTerminal, forgetSize, onTerminal } from '@csc-fleet/test-kit/cli/terminal';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { csc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeContract } from '../show/contract.ts';
import { TerminalSession } from '../show/terminal-session.ts';
import { EscapeReader } from './raw.ts';
import { plainLine, readable } from './text.ts';

const esc = '\u001b';

describe('on a terminal', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet({ executors: [{ name: 'host-1' }] });
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  const contractFile = (script: string): string =>
    fleet.write('contract.json', JSON.stringify(fleet.contract({ argv: ['sh', '-c', script] })));

  it('csc submit shows live progress with the time elapsed, and takes it away at the end', async () => {
    const args = ['submit', contractFile('sleep 0.5; echo one; echo two')];
    const { screen, code } = await cscOnTerminal(args, fleet.environment()).ended;
    expect(code).toBe(0);
    expect(screen).toMatch(/running main.*· \d\.\d s/);
    expect(screen).toContain('one');
    expect(screen).toContain('two');
    expect(screen).toContain(`${esc}[?25h`);
    const lastLines = screen.slice(screen.lastIndexOf('two'));
    expect(lastLines).toContain('SUCCESS');
    expect(lastLines.slice(lastLines.indexOf('SUCCESS'))).not.toContain('running');
  });

  it('a line that the command has not ended yet is not written over', async () => {
    const args = [
      'submit',
      contractFile('sleep 0.3; printf half; sleep 0.3; echo line; sleep 0.3; printf end'),
    ];
    const { screen } = await cscOnTerminal(args, fleet.environment()).ended;
    expect(screen).toContain('halfline\r\n');
    expect(screen).toMatch(/end\r\n.*SUCCESS/);
  });

  it('csc submit is ended by Ctrl-C, and leaves at the second', async () => {
    const first = cscOnTerminal(
      ['submit', contractFile('trap "exit 9" TERM; echo ready; sleep 60 & wait')],
      fleet.environment(),
    );
    await first.waitFor(/ready/);
    first.pty.write('\u0003');
    expect((await first.ended).code).toBe(9);
    const stubborn = cscOnTerminal(
      ['submit', contractFile('trap "" TERM; echo ready; sleep 60')],
      fleet.environment(),
    );
    await stubborn.waitFor(/ready/);
    stubborn.pty.write('\u0003');
    await stubborn.waitFor(/once more/);
    // What comes at once is the same Ctrl-C: people are slower.
    const again = setInterval(() => stubborn.pty.write('\u0003'), 100);
    const { screen, code } = await stubborn.ended;
    clearInterval(again);
    expect(code).toBe(130);
    expect(screen).toMatch(/csc get [0-9a-f-]{36} --follow/);
  });

  it('csc submit ends on a terminal of no size, and on one that loses its size', async () => {
    const blank = await cscOnBlankTerminal(['submit', contractFile('echo one')], fleet.environment()).ended;
    expect(blank.code).toBe(0);
    expect(blank.screen).toMatch(/one\r\n.*SUCCESS/s);
    expect(blank.screen).not.toContain(`${esc}[?25l`);
    const shrunk = cscOnTerminal(['submit', contractFile('sleep 1; echo two')], fleet.environment());
    await shrunk.waitFor(/running main/);
    forgetSize(shrunk.pty);
    const { code, screen } = await shrunk.ended;
    expect(code).toBe(0);
    expect(screen).toMatch(/two\r\n.*SUCCESS/s);
    expect(screen.length).toBeLessThan(100_000);
  });

  it('a dumb terminal gets lines and nothing to draw with', async () => {
    const dumb = await cscOnTerminal(['submit', contractFile('echo one')], {
      ...fleet.environment(),
      TERM: 'dumb',
    }).ended;
    expect(dumb.code).toBe(0);
    expect(dumb.screen).toMatch(/one\r\n/);
    expect(dumb.screen).not.toContain(`${esc}[?`);
  });

  it('Ctrl-C leaves csc get --follow, and the execution goes on', async () => {
    const submitted = await csc(['submit', contractFile('echo ready; sleep 60'), '--detach'], {
      env: fleet.environment(),
    });
    const id = submitted.stdout.trim();
    const watching = cscOnTerminal(['get', id, '--follow'], fleet.environment());
    await watching.waitFor(/ready/);
    watching.pty.write('\u0003');
    const { screen, code } = await watching.ended;
    expect(code).toBe(130);
    expect(screen).toContain(`csc cancel ${id}`);
    expect((await csc(['get', id], { env: fleet.environment() })).stdout).toMatch(/^state +running$/m);
    await csc(['cancel', id, '--grace', '0s'], { env: fleet.environment() });
  });

  it('the same through a pipe has neither colour nor progress', async () => {
    const { stdout, stderr } = await csc(['submit', contractFile('echo one; sleep 0.3; echo two')], {
      env: fleet.environment(),
    });
    expect(stdout).toBe('one\ntwo\n');
    expect(stderr).not.toContain(esc);
    expect(stderr).not.toContain('running');
    expect(stderr).toContain('SUCCESS');
  });
});

describe('csc approve', () => {
  const hidden = sampleContract(
    { exec: { argv: ['echo', 'a b', '\u202etxt.exe', '$(id)'] }, secret_refs: ['TOKEN'] },
    { approval_mode: 'human_required', intent: 'tidy\nrisk       low\u200b' },
  );

  it.each([
    ['writes one once somebody has typed how the hash begins', (sha256: string) => sha256.slice(0, 8), 0],
    ['writes none for another answer', () => 'yes', 1],
    ['writes none after Ctrl-C', () => '\u0003', 1],
  ])('shows all of a contract and %s', async (_, answer, expected) => {
    const scratch = createScratch();
    const path = scratch.write('c.json', hidden);
    const out = join(scratch.directory, 'approval.json');
    const policy = scratch.write('p.yaml', samplePolicy('/workspace', { allow_secret_refs: true }));
    const asked = cscOnTerminal(['approve', path, policy, '--out', out, '--identity', 'bob']);
    await asked.waitFor(/as its hash begins: /);
    asked.pty.write(`${answer(contractSha256(hidden))}\r`);
    const { screen, code } = await asked.ended;
    expect(code).toBe(expected);
    expect(screen).toContain('echo "a b" "\\u202etxt.exe" "$(id)"');
    expect(screen).toContain('secrets    TOKEN');
    expect(screen).toMatch(/^ {2}intent {5}tidy\r\n {13}risk {7}low\\u200b/m);
    expect(existsSync(out)).toBe(expected === 0);
    if (expected === 0) {
      const approval = orThrow(parseApproval(readFileSync(out)), 'APPROVAL_INVALID', out);
      checkApproval(approval, { contractSha256: contractSha256(hidden), now: new Date() });
      expect(approval).toMatchObject({ scope: 'single_execution', approver: { identity: 'bob' } });
    }
  });

  // A terminal breaks what is longer than itself, and begins the rest where members begin.
  it.each([80, 40, 0])('shows no part of a text where another member would be, at %i columns', (columns) => {
    const width = columns === 0 ? 80 : columns;
    const fake = '  network    full';
    const after = (before: number) => `${'x'.repeat(Math.max(width - before, 1))}${fake}${'x'.repeat(width)}`;
    // Wide in every terminal, and one that is wide where the terminal's owner reads Chinese.
    const wide = ['\u754c', '\u25fd', '\u2192']
      .map((it) => `${it.repeat(Math.ceil((width - 13) / 2))}${fake}`)
      .join('\n');
    const contract = sampleContract(
      { exec: { argv: ['echo', `${after(10)}`] }, read_paths: [`/workspace/${after(25)}`] },
      { intent: after(13), justification: `${wide}\n\t${after(21)}` },
    );
    const lines = describeContract(contract, (_, text) => text, columns).split('\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
    expect(lines.filter((line) => line.startsWith('  network'))).toEqual(['  network    deny']);
    expect(lines.filter((line) => /^.{0,3}[x\u754c\u25fd\u2192]/.test(line))).toEqual([]);
    for (const line of lines.filter((it) => /[\u754c\u25fd\u2192]/.test(it)))
      expect(line.replaceAll(/[\u754c\u25fd\u2192]/g, '__').length, line).toBeLessThanOrEqual(width);
    expect(
      lines
        .join('')
        .replaceAll(/\s/g, '')
        .match(/networkfull/g),
    ).toHaveLength(7);
  });
});

describe('colour', () => {
  function files(): string[] {
    const scratch = createScratch();
    return [scratch.write('contract.json', sampleContract()), scratch.write('policy.yaml', samplePolicy())];
  }

  it('is there on a terminal only, and not with NO_COLOR', async () => {
    const args = ['check', ...files()];
    expect((await cscOnTerminal(args).ended).screen).toContain(`${esc}[32m`);
    expect((await cscOnTerminal(args, { NO_COLOR: '1' }).ended).screen).not.toContain(esc);
    expect((await csc(args)).stdout).not.toContain(esc);
  });

  it('--json has none anywhere', async () => {
    expect((await cscOnTerminal(['check', '--json', ...files()]).ended).screen).not.toContain(esc);
  });
});

describe('keys for csc itself', () => {
  const read = (...parts: string[]) => {
    const escapes = new EscapeReader();
    return parts.map((part) => {
      const { input, wants } = escapes.read(Buffer.from(part));
      return [Buffer.from(input).toString(), wants];
    });
  };

  it('are behind a tilde at the beginning of a line alone', () => {
    expect(read('~.')).toEqual([['', 'leave']]);
    expect(read('ls\r~', '.')).toEqual([
      ['ls\r', undefined],
      ['', 'leave'],
    ]);
    expect(read('~~a', '\r~x')).toEqual([
      ['~a', undefined],
      ['\r~x', undefined],
    ]);
    expect(read('cd ~.\r')).toEqual([['cd ~.\r', undefined]]);
    expect(read('~\u001a', '~?')).toEqual([
      ['', 'suspend'],
      ['', 'help'],
    ]);
  });

  it('take nothing from what is typed before and behind them, in one read', () => {
    const escapes = new EscapeReader();
    const bytes = Buffer.from('make\r~?ls\r~.');
    const { input, wants, read } = escapes.read(bytes);
    expect([Buffer.from(input).toString(), wants, read]).toEqual(['make\r', 'help', 7]);
    const next = escapes.read(bytes.subarray(read));
    expect([Buffer.from(next.input).toString(), next.wants]).toEqual(['ls\r', 'leave']);
  });
});

describe('a recording that is longer than csc keeps', () => {
  /** A session that has kept these lines, of at most 40 bytes. */
  async function keeping(lines: readonly string[]): Promise<TerminalSession> {
    const session = new TerminalSession(40);
    const { onRecording } = session.recording({});
    const at = {
      type: 'chunk',
      commandId: 'main',
      stream: OutputStream.RECORDING,
      offset: 0,
      monotonicNs: 0,
    } as const;
    for (const line of lines) await onRecording?.(Buffer.from(line), { ...at, data: Buffer.from(line) });
    return session;
  }

  it('says so in the file and beside it, and has whole lines', async () => {
    const lines = ['{"version":3}\n', '[0.1,"o","one"]\n', '[0.1,"o","two"]\n'];
    const session = await keeping(lines);
    const file = join(createScratch().directory, 'cut.cast');
    const alerts: string[] = [];
    session.writeRecording(file, (text) => alerts.push(text));
    const marker = '[0,"m","the recording is cut here: csc keeps 40 of its 46 bytes"]\n';
    expect(readFileSync(file, 'utf8')).toBe(`${lines.slice(0, 2).join('')}${marker}`);
    expect(alerts).toEqual([expect.stringContaining('csc get --recording')]);
  });

  it('says nothing where it is whole', async () => {
    const session = await keeping(['{"version":3}\n']);
    const file = join(createScratch().directory, 'whole.cast');
    const alerts: string[] = [];
    session.writeRecording(file, (text) => alerts.push(text));
    expect([readFileSync(file, 'utf8'), alerts]).toEqual(['{"version":3}\n', []]);
  });
});

describe('a terminal that is a job’s', () => {
  it('is given back where csc itself fails', async () => {
    const raw = join(import.meta.dirname, 'raw.ts');
    const fail = `import { takeKeyboard } from ${JSON.stringify(raw)};
takeKeyboard({ onInput: async () => {}, settled: async () => {}, onResize() {}, onLeave() {} });
console.log('taken'); process.stdin.once('data', () => { throw new Error('out of the blue'); });`;
    const program = createScratch().write('fail.mts', fail);
    const shell = onTerminal(['sh', '-c', '"$0" "$1"; stty -a', process.execPath, program], {});
    await shell.waitFor(/taken/);
    shell.pty.write('x');
    const { screen } = await shell.ended;
    expect(screen).toMatch(/out of the blue[\s\S]* icanon/);
    expect(screen).toMatch(/[^-]opost/);
  });
});

describe('text from elsewhere', () => {
  it('cannot speak to the terminal', () => {
    expect(showInvisible('a\u001b[2J\u0007\u202eb\r\nc')).toBe('a\\u001b[2J\\u0007\\u202eb\\u000d\nc');
    const tags = String.fromCodePoint(0xe0041, 0xe007f);
    expect(showInvisible(`a\u200bb\u00ad\u2060\ufeff\u3164\u2800\ufe0f${tags}`)).toBe(
      'a\\u200bb\\u00ad\\u2060\\ufeff\\u3164\\u2800\\ufe0f\\u{e0041}\\u{e007f}',
    );
    expect(showInvisible('naïve – „Ω“ 漢字 ✅')).toBe('naïve – „Ω“ 漢字 ✅');
    expect(plainLine('one\n\n  two\tthree')).toBe('one two three');
  });

  it('is what a terminal showed, with its control characters written out', () => {
    expect(readable(Buffer.from('a\r\n\u001b]0;title\u0007b'))).toBe('a\n\\u001b]0;title\\u0007b');
  });

  it('does not do so from a policy decision', async () => {
    const scratch = createScratch();
    const contract = sampleContract({ exec: { argv: ['\u001b[31mred\u001b]0;title\u0007'] } });
    const args = ['check', scratch.write('c.json', contract), scratch.write('p.yaml', samplePolicy())];
    const { code, stdout } = await csc(args);
    expect(code).toBe(1);
    expect(stdout).not.toContain(esc);
  });
});

describe('much output', () => {
  it('has what is behind it collected as it passes', async () => {
    const observer = new PerformanceObserver(() => {});
    observer.observe({ entryTypes: ['gc'] });
    // Node tells of a collection in the turn after it.
    const forced = async (): Promise<number> => {
      await immediate();
      const { NODE_PERFORMANCE_GC_MINOR: minor, NODE_PERFORMANCE_GC_FLAGS_FORCED: byUs } = constants;
      return observer.takeRecords().filter((entry) => {
        const { kind, flags } = Object(Reflect.get(entry, 'detail'));
        return kind === minor && (flags & byUs) !== 0;
      }).length;
    };
    const passed = createCollector(1000);
    passed(999);
    expect(await forced()).toBe(0);
    passed(1);
    expect(await forced()).toBe(1);
    passed(999);
    expect(await forced()).toBe(0);
    observer.disconnect();
  });
});
