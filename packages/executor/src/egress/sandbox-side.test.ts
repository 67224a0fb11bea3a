import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { NamespaceTestOptions, NamespaceTestResult } from '@csc-fleet/test-kit/egress/namespace';
import { describe, expect, it } from 'vitest';
import { listenInNamespace, proxyEnvironment } from './sandbox-side.ts';

describe('proxyEnvironment', () => {
  it('names the proxy in both spellings', () => {
    expect(proxyEnvironment(3128)).toEqual({
      HTTP_PROXY: 'http://127.0.0.1:3128',
      HTTPS_PROXY: 'http://127.0.0.1:3128',
      ALL_PROXY: 'socks5h://127.0.0.1:3128',
      NO_PROXY: '',
      http_proxy: 'http://127.0.0.1:3128',
      https_proxy: 'http://127.0.0.1:3128',
      all_proxy: 'socks5h://127.0.0.1:3128',
      no_proxy: '',
      NODE_USE_ENV_PROXY: '1',
    });
  });

  it.each([
    [[['a.test'], []], 'localhost,127.0.0.1,::1'],
    [[['127.0.0.1', '*.localhost']], 'localhost,127.0.0.1,::1'],
    [[['a.test', 'localhost:8080'], ['a.test']], ''],
  ])('with %j leaves out of it %j', (lists, direct) => {
    expect(proxyEnvironment(3128, lists)).toMatchObject({ NO_PROXY: direct, no_proxy: direct });
  });
});

const program = fileURLToPath(new URL('../../../../tests/kit/egress/namespace.ts', import.meta.url));

async function run(options: NamespaceTestOptions): Promise<NamespaceTestResult> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify(options)]);
  return JSON.parse(stdout);
}

const isRoot = process.getuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };

describe('listenInNamespace', () => {
  const users: readonly (readonly [string, Pick<NamespaceTestOptions, 'user' | 'launcher'>])[] = isRoot
    ? [
        ['root', {}],
        ['another user, and without csc-launcher', { user: nobody, launcher: null }],
      ]
    : [['this user', {}]];

  it.each(users)('gives the sandbox of %s its one way out', async (_, user) => {
    const script = [
      'curl -sS -m 5 http://allowed.test/in',
      'curl -sS -m 5 -x "$ALL_PROXY" http://allowed.test/socks',
      'curl -sS -m 5 http://evil.test/',
      'curl -sS -m 5 --noproxy "*" http://93.184.216.34/ 2>&1 || echo "exit $?"',
      'curl -sS -m 5 --noproxy "*" http://127.0.0.1:1/ 2>&1 || echo "exit $?"',
    ].join('\n');
    const result = await run({ script, ...user });
    expect(result.output).toContain('"url":"/in"');
    expect(result.output).toContain('"url":"/socks"');
    expect(result.output).toContain('not_listed');
    expect(result.output.match(/^exit 7$/gm)).toHaveLength(2);
    expect(result.verdicts).toEqual(['allowed.test:80 ok', 'allowed.test:80 ok', 'evil.test:80 not_listed']);
    expect(result.secondError).toBe('SANDBOX_UNAVAILABLE');
    expect(result.helpersLeft).toBe(0);
  });

  it.each([
    ["this process's own network", process.pid],
    ['a process that is not there', 2 ** 30],
  ])('refuses %s', async (_, pid) => {
    await expect(listenInNamespace({ pid, port: 3128 })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
    });
  });
});
