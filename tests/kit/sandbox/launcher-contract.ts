import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type LaunchedProcess,
  type Launcher,
  type LaunchSpec,
  pipelineExit,
} from '../../../packages/sandbox/src/launch/launcher.ts';
import { codesOf, finish } from './runner.ts';

/** A launcher with a place to launch in: /usr and /bin are there, the cwd is writable and holds nothing else. */
export interface LauncherUnderTest {
  readonly launcher: Launcher;
  place(): LaunchSpec['place'];
  close(): void;
}

/** What every launcher owes its caller. */
export function testLauncher(name: string, create: () => Promise<LauncherUnderTest>): void {
  describe(`${name} as a launcher`, () => {
    let subject: LauncherUnderTest;
    beforeAll(async () => {
      subject = await create();
    });
    afterAll(() => subject.close());
    const launch = (argvs: readonly (readonly string[])[], hold = false): LaunchedProcess =>
      subject.launcher.launch({ segments: argvs.map((argv) => ({ argv })), place: subject.place(), hold });
    const shell = (script: string): LaunchedProcess => launch([['sh', '-c', script]]);

    it('gives stdout, stderr and the exit code', async () => {
      const launched = shell('echo out; echo err >&2; exit 3');
      expect(await finish(launched)).toMatchObject({ stdout: 'out\n', stderr: 'err\n' });
      expect(codesOf(await launched.exited)).toEqual([3]);
      expect(await launched.started).toBe(true);
    });

    it('gives bytes as they are', async () => {
      const { stdout } = shell("printf '\\377\\000\\n'");
      expect(Buffer.concat(await stdout.toArray())).toEqual(Buffer.from([255, 0, 10]));
    });

    it('passes arguments as they are', async () => {
      const odd = ['a b', '', '$HOME', '"', "'", '\n', '*', '-n', '--'];
      const { stdout } = await finish(
        launch([['sh', '-c', 'for a; do printf "[%s]" "$a"; done', 'sh', ...odd]]),
      );
      expect(stdout).toBe(odd.map((argument) => `[${argument}]`).join(''));
    });

    it('says which signal ended the command', async () => {
      const { outcome } = await finish(shell('kill -TERM $$'));
      expect(outcome).toEqual({ kind: 'exited', segments: [{ exitCode: 143, signal: 'SIGTERM' }] });
    });

    it('tells a program that is not there from one that fails', async () => {
      expect((await finish(launch([['csc-no-such-program']]))).outcome).toMatchObject({
        kind: 'not_started',
        code: 127,
      });
      expect((await finish(launch([['./csc-no-such-program']]))).outcome).toMatchObject({
        kind: 'not_started',
        code: 127,
      });
      expect((await finish(launch([['/usr/bin']]))).outcome).toMatchObject({
        kind: 'not_started',
        code: 126,
      });
      expect(codesOf((await finish(shell('exit 127'))).outcome)).toEqual([127]);
      expect(codesOf((await finish(shell('exit 1'))).outcome)).toEqual([1]);
    });

    it('says of a script without its interpreter that it is not found', async () => {
      const made = await finish(shell("printf '#!/csc/no/such\\n' > script; chmod 755 script"));
      expect(codesOf(made.outcome)).toEqual([0]);
      const { outcome } = await finish(launch([['./script']]));
      expect(outcome).toMatchObject({ kind: 'not_started', code: 127 });
    });

    it('says of arguments that are too long that they cannot be run', async () => {
      const long = Array.from({ length: 100 }, () => 'x'.repeat(120_000));
      expect((await finish(launch([['true', ...long]]))).outcome).toMatchObject({
        kind: 'not_started',
        code: 126,
      });
    });

    it('hands on the longest argument that the kernel takes', async () => {
      const { outcome, stdout } = await finish(
        launch([
          ['printf', '%s', 'x'.repeat(131_071)],
          ['wc', '-c'],
        ]),
      );
      expect([codesOf(outcome), stdout.trim()]).toEqual([[0, 0], '131071']);
    });

    it('joins a pipeline', async () => {
      const { outcome, stdout } = await finish(launch([['echo', 'b\na'], ['sort'], ['tr', 'a-z', 'A-Z']]));
      expect([codesOf(outcome), stdout]).toEqual([[0, 0, 0], 'A\nB\n']);
    });

    it('ends the writer of a pipeline whose reader is done', async () => {
      const { outcome, stdout } = await finish(launch([['yes'], ['head', '-1']]));
      expect([codesOf(outcome), stdout]).toEqual([[141, 0], 'y\n']);
    });

    it('lets the first segment that fails decide', async () => {
      const { outcome, stderr } = await finish(
        launch([
          ['sh', '-c', 'echo 1 >&2'],
          ['sh', '-c', 'cat; echo 2 >&2; exit 7'],
          ['sh', '-c', 'cat; exit 9'],
        ]),
      );
      expect(codesOf(outcome)).toEqual([0, 7, 9]);
      expect(outcome.kind === 'exited' ? pipelineExit(outcome.segments) : undefined).toEqual({ exitCode: 7 });
      expect(stderr.split('\n').sort()).toEqual(['', '1', '2']);
    });

    it('has no input', async () => {
      expect(await finish(shell('cat; echo done'))).toMatchObject({ stdout: 'done\n' });
    });

    it('lets the command open its own output again', async () => {
      const { stdout, stderr } = await finish(
        shell('echo a > /dev/stdout; echo b >> /dev/stdout; echo c > /dev/stderr'),
      );
      expect([stdout, stderr]).toEqual(['a\nb\n', 'c\n']);
    });

    // In a shell they are anonymous pipes: a named one would keep whoever opens it waiting for the side that is gone.
    it('lets every segment open its streams again, also when the other side has ended', async () => {
      // Nothing is left to read once the writer has ended, and yes(1) ends when its reader has.
      const read = [
        'sh',
        '-c',
        'cat; for again in /dev/stdin /dev/fd/0 /proc/self/fd/0; do cat $again; done',
      ];
      const whole = await finish(launch([['echo', 'a'], read, read]));
      expect([codesOf(whole.outcome), whole.stdout]).toEqual([[0, 0, 0], 'a\n']);
      const write = [
        'sh',
        '-c',
        'yes; trap "" PIPE; echo x > /dev/stdout; echo y > /proc/self/fd/1; echo z >&2',
      ];
      const cut = await finish(launch([write, ['true']]));
      expect([codesOf(cut.outcome), cut.stderr]).toEqual([[0, 0], expect.stringMatching(/z\n$/)]);
      const only = await finish(shell('cat /dev/stdin; echo 1 > /dev/fd/1; echo 2 > /proc/self/fd/2'));
      expect([only.stdout, only.stderr]).toEqual(['1\n', '2\n']);
    });

    it('starts nothing that is held before its release', async () => {
      const launched = launch([['sh', '-c', 'echo ran | tee marker']], true);
      await sleep(150);
      const before = await finish(shell('cat marker 2>/dev/null; rm -f marker'));
      expect(before.stdout).toBe('');
      launched.release();
      launched.release();
      expect(await finish(launched)).toMatchObject({ stdout: 'ran\n' });
      expect(await launched.started).toBe(true);
    });

    it('withdraws what is terminated before its release, wherever its building is', async () => {
      for (const delay of [0, 1, 2, 4, 8, 100]) {
        const launched = launch([['echo', 'ran'], ['cat']], true);
        await sleep(delay);
        launched.terminate(5000);
        launched.release();
        expect(await finish(launched)).toEqual({ outcome: { kind: 'withdrawn' }, stdout: '', stderr: '' });
        expect(await launched.started).toBe(false);
      }
    });

    it('asks the command to end before it makes it', async () => {
      const launched = shell('trap "echo asked; exit 4" TERM; echo ready; while :; do sleep 0.05; done');
      launched.stdout.once('data', () => launched.terminate(20_000));
      expect((await finish(launched)).stdout).toContain('asked');
      expect(codesOf(await launched.exited)).toEqual([4]);
    });

    it('kills what does not listen', async () => {
      const launched = shell('trap "" TERM; echo ready; while :; do sleep 0.05; done');
      launched.stdout.once('data', () => launched.terminate(100));
      const { outcome } = await finish(launched);
      expect(outcome).toEqual({ kind: 'exited', segments: [{ exitCode: 137, signal: 'SIGKILL' }] });
    });

    it('kills at once when asked to, and again changes nothing', async () => {
      const launched = launch([
        ['sleep', '100'],
        ['sleep', '100'],
      ]);
      await launched.started;
      launched.terminate(60_000);
      launched.terminate(0);
      launched.terminate(60_000);
      const { outcome } = await finish(launched);
      launched.terminate(0);
      expect(outcome.kind).toBe('exited');
    });

    it('waits for a reader', async () => {
      const launched = shell('head -c 20000000 /dev/zero; echo done >&2');
      launched.stderr.resume();
      await sleep(200);
      expect(launched.stdout.readableLength).toBeLessThanOrEqual(256 * 1024);
      let length = 0;
      for await (const chunk of launched.stdout) length += chunk.length;
      expect(length).toBe(20_000_000);
    });
  });
}
