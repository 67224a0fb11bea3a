import { describe, expect, it } from 'vitest';
import { parseBwrapStatus } from './bwrap-status.ts';
import { parseBwrapError, parseExecFailure } from './judge-bwrap.ts';
import { signalExit, toSegmentExit } from './segment.ts';

describe('parseBwrapStatus', () => {
  const first = '{ "child-pid": 7, "net-namespace": 4026532183 }\n';

  it('reads one document a line, as they come', () => {
    expect(parseBwrapStatus('')).toEqual({});
    expect(parseBwrapStatus(first.slice(0, 20))).toEqual({});
    expect(parseBwrapStatus(first)).toEqual({ childPid: 7 });
    expect(parseBwrapStatus(`${first}{ "exit-code": 0 }\n`)).toEqual({ childPid: 7, exitCode: 0 });
  });

  it('takes nothing from what is not such a document', () => {
    expect(parseBwrapStatus('nonsense\nnull\n[1]\n{"exit-code":"0"}\n{"exit-code":1.5}\n')).toEqual({});
  });
});

describe('parseExecFailure', () => {
  it('tells what is not there from what cannot be run', () => {
    expect(parseExecFailure('bwrap: execvp ./a: No such file or directory')).toMatchObject({ code: 127 });
    expect(parseExecFailure('bwrap: execvp a: b: Permission denied')).toMatchObject({ code: 126 });
    expect(parseExecFailure('bwrap: execvp ./a: Argument list too long')).toMatchObject({ code: 126 });
    expect(parseExecFailure("bwrap: Can't chdir to /a: No such file or directory")).toBeUndefined();
  });

  it('reads only bwrap’s own lines', () => {
    expect(parseBwrapError('x\nbwrap: no\n')).toBe('bwrap: no');
    expect(parseBwrapError('say bwrap: no\n')).toBeUndefined();
  });
});

describe('toSegmentExit', () => {
  it('reads 128 + n as signal n', () => {
    expect(toSegmentExit(0)).toEqual({ exitCode: 0 });
    expect(toSegmentExit(128)).toEqual({ exitCode: 128 });
    expect(toSegmentExit(134)).toEqual({ exitCode: 134, signal: 'SIGABRT' });
    expect(toSegmentExit(137)).toEqual({ exitCode: 137, signal: 'SIGKILL' });
    expect(toSegmentExit(255)).toEqual({ exitCode: 255 });
    expect(signalExit('SIGTERM')).toEqual({ exitCode: 143, signal: 'SIGTERM' });
  });
});
