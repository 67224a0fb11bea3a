import { spawn } from 'node:child_process';
import { closeSync, readdirSync, readlinkSync } from 'node:fs';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import type { TerminalFrame } from '@csc-fleet/common/messages';
import { parseCastEvent, parseCastHeader, signFrame } from '@csc-fleet/common/terminal';
import { describe, expect, it } from 'vitest';
import { inputBounds, type OpenTerminal, openTerminal, Recorder, TerminalInput } from './index.ts';

const { seed, publicKey: key } = generateKeyPair();
const signer = createSigner(seed, 'input');
const run = 'a'.repeat(32);

function frame(sequence: number, kind: TerminalFrame['kind'], as = run): TerminalFrame {
  return signFrame({ sequence, kind }, as, (message) => signer.sign(message));
}

function typing(sequence: number, text: string, as = run): TerminalFrame {
  return frame(sequence, { $case: 'input', value: Buffer.from(text) }, as);
}

/** A TerminalInput, and what it has typed. */
function keyboard(rules = inputBounds({})) {
  const typed: string[] = [];
  const terminal = {
    type: async (bytes: Uint8Array) => void typed.push(Buffer.from(bytes).toString()),
    resize: async ({ columns, rows }: { columns: number; rows: number }) =>
      void typed.push(`<${columns}x${rows}>`),
  };
  const recorder = { typed: () => undefined, resized: () => undefined };
  return { typed, input: new TerminalInput({ key, run, ...rules }, terminal, recorder) };
}

describe('what a gate brings to be typed', () => {
  it('is typed where it comes from the submitter, once and in order', async () => {
    const { typed, input } = keyboard();
    const resize = frame(2, { $case: 'resize', value: { columns: 90, rows: 30 } });
    expect(await input.take([typing(1, 'ls'), resize])).toEqual({ sequence: 2, ended: '' });
    // A call whose answer was lost is made again.
    expect(await input.take([typing(1, 'ls'), resize, typing(3, '\r')])).toEqual({ sequence: 3, ended: '' });
    expect(await input.take([])).toEqual({ sequence: 3, ended: '' });
    expect(typed).toEqual(['ls', '<90x30>', '\r']);
  });

  it('is not typed where the gate has made it up, and does not keep the submitter from typing', async () => {
    const { typed, input } = keyboard();
    const own = createSigner(generateKeyPair().seed, 'gate');
    const kind = { $case: 'input' as const, value: Buffer.from('rm -rf ~\r') };
    const forged = signFrame({ sequence: 1, kind }, run, (message) => own.sign(message));
    const bare = { sequence: 1, kind, signature: Buffer.alloc(64) };
    const changed = { ...typing(1, 'ls'), kind };
    const renumbered = { ...typing(2, 'ls'), sequence: 1 };
    const asResize = {
      ...typing(1, '90x30'),
      kind: frame(1, { $case: 'resize', value: { columns: 90, rows: 30 } }).kind,
    };
    for (const it of [forged, bare, changed, renumbered, asResize])
      expect((await input.take([it, typing(1, 'x')])).ended).toMatch(/not signed/);
    expect(await input.take([typing(1, 'mine')])).toEqual({ sequence: 1, ended: '' });
    expect(typed).toEqual(['mine']);
  });

  it('is not typed where it was typed in another run', async () => {
    const { typed, input } = keyboard();
    expect((await input.take([typing(1, 'sudo reboot\r', 'b'.repeat(32))])).ended).toMatch(/not signed/);
    expect(typed).toEqual([]);
  });

  it('is not typed twice', async () => {
    const { typed, input } = keyboard();
    const paid = typing(1, 'pay\r');
    for (let count = 0; count < 3; count += 1) await input.take([paid]);
    expect(typed).toEqual(['pay\r']);
  });

  it('ends where something is left out or the order is another, with words', async () => {
    const { typed, input } = keyboard();
    await input.take([typing(1, 'rm -rf ')]);
    expect((await input.take([typing(3, '/\r')])).ended).toMatch(/frame 2 is missing/);
    expect((await input.take([typing(2, './build')])).ended).toMatch(/frame 2 is missing/);
    expect(typed).toEqual(['rm -rf ']);
  });

  it('is no more than the policy allows', async () => {
    const { typed, input } = keyboard(inputBounds({ input_bytes: 10 }));
    await input.take([typing(1, '12345')]);
    expect((await input.take([typing(2, '678901')])).ended).toMatch(/10 bytes/);
    expect(typed).toEqual(['12345']);
  });

  it('comes one call at a time: what a gate sends meanwhile is not kept', async () => {
    const { typed, input } = keyboard(inputBounds({ input_bytes_per_sec: 1000 }));
    const slow = input.take([typing(1, 'a'.repeat(1000)), typing(2, 'b')]);
    expect(await input.take([typing(3, 'c')])).toEqual({ sequence: 0, ended: '' });
    await slow;
    expect(typed).toEqual(['a'.repeat(1000), 'b']);
  });
});

/** Runs a shell's script on a terminal as a sandbox has it; gives all that was shown. */
async function show(terminal: OpenTerminal, script: string): Promise<string> {
  const shown: Buffer[] = [];
  terminal.output.on('data', (chunk: Buffer) => shown.push(chunk));
  const over = new Promise((resolve) => terminal.output.once('end', resolve));
  const slave = terminal.takeSlave();
  const argv = ['--ctty', '--wait', '--', 'sh', '-c', script];
  const child = spawn('/usr/bin/setsid', argv, { stdio: [slave, slave, slave], detached: true });
  closeSync(slave);
  await new Promise((resolve) => child.once('exit', resolve));
  terminal.hangUp();
  await over;
  terminal.close();
  return Buffer.concat(shown).toString();
}

const size = { columns: 90, rows: 30 };

describe('a terminal', () => {
  it('is of the size that was asked for, and its users hear of another one', async () => {
    const terminal = await openTerminal(size, undefined);
    // It waits for the signal itself: a shell that is about to start something may miss it.
    const hear = 'import os, signal as s; tty = lambda: print(*reversed(os.get_terminal_size()), flush=True)';
    const block = 's.pthread_sigmask(s.SIG_BLOCK, [s.SIGWINCH]); tty(); s.sigwait([s.SIGWINCH]); tty()';
    const shown = show(terminal, `exec python3 -c '${hear}; ${block}'`);
    await new Promise((resolve) => terminal.output.once('data', resolve));
    await terminal.resize({ columns: 70, rows: 20 });
    expect(await shown).toBe('30 90\r\n20 70\r\n');
  });

  it('leaves this process nothing that a child could inherit', async () => {
    const terminal = await openTerminal(size, undefined);
    const held = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    });
    expect(held.filter((it) => it.includes('ptmx'))).toEqual([]);
    terminal.close();
  });

  it('does not hold this process up where nobody reads what is typed', async () => {
    const terminal = await openTerminal(size, undefined);
    const shown = show(terminal, 'stty raw; sleep 0.5; echo over');
    for (let count = 0; count < 32; count += 1) void terminal.type(Buffer.alloc(4096, 0x61));
    expect(await shown).toMatch(/over/);
  });
});

describe('a recording', () => {
  const lines = async (recorder: Recorder): Promise<string[]> => {
    const parts: Buffer[] = [];
    for await (const part of recorder.stream) parts.push(part);
    return Buffer.concat(parts).toString().trimEnd().split('\n');
  };
  const options = {
    size,
    type: 'xterm',
    at: new Date(1_504_467_315_000),
    maxBytes: 10_000,
    recordsInput: false,
  };

  it('is an asciicast v3, of whole characters, without what was typed', async () => {
    const recorder = new Recorder(options);
    const [first, second] = [
      Buffer.from('gr\u00fc\u00df').subarray(0, 3),
      Buffer.from('gr\u00fc\u00df').subarray(3),
    ];
    recorder.shown(first);
    recorder.typed(Buffer.from('password\r'));
    recorder.shown(second);
    recorder.resized({ columns: 70, rows: 20 });
    recorder.ended(7);
    const [header = '', ...events] = await lines(recorder);
    expect(JSON.parse(header)).toEqual({
      version: 3,
      term: { cols: 90, rows: 30, type: 'xterm' },
      timestamp: 1_504_467_315,
    });
    expect(parseCastHeader(header)).toMatchObject(size);
    const told = events.map((line) => parseCastEvent(line)).map((event) => [event?.code, event?.data]);
    expect(told).toEqual([
      ['o', 'gr'],
      ['o', '\u00fc\u00df'],
      ['r', '70x20'],
      ['x', '7'],
    ]);
  });

  it('has what was typed where the policy says so', async () => {
    const recorder = new Recorder({ ...options, recordsInput: true });
    recorder.typed(Buffer.from('ls\r'));
    recorder.ended(0);
    expect(parseCastEvent((await lines(recorder))[1] ?? '')).toMatchObject({ code: 'i', data: 'ls\r' });
  });

  it('ends with whole lines where there is no room for more', async () => {
    const recorder = new Recorder({ ...options, maxBytes: 400 });
    for (let count = 0; count < 50; count += 1) recorder.shown(Buffer.from('0123456789'));
    recorder.ended(0);
    const all = await lines(recorder);
    expect(recorder.isFull).toBe(true);
    expect(all.join('\n').length).toBeLessThan(400);
    expect(parseCastEvent(all.at(-1) ?? '')).toMatchObject({ code: 'x', data: '0' });
    const said = { code: 'm', data: expect.stringContaining('cut here') };
    expect(parseCastEvent(all.at(-2) ?? '')).toMatchObject(said);
    expect(all.slice(1).every((line) => parseCastEvent(line) !== undefined)).toBe(true);
  });
});
