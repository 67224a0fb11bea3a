import { describe, expect, it } from 'vitest';
import { proxyEnvironment } from './proxy-environment.ts';

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
