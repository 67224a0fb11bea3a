import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostFiles } from './etc-files.ts';
import { gatherEtc, holdsPassword } from './gather-etc.ts';

let tree: TestTree;
beforeEach(() => {
  tree = makeTree();
});
afterEach(() => tree.remove());

function link(path: string, target: string): void {
  mkdirSync(dirname(join(tree.path, path)), { recursive: true });
  symlinkSync(target, join(tree.path, path));
}
const gather = () => gatherEtc(['/usr'], new HostFiles(tree.path));
/** What a sandbox has by each name: a copy's text, or where a link leads. */
const seen = (): Record<string, string> => {
  const { links, files } = gather();
  return Object.fromEntries(
    [...links].map(([path, target]) => {
      const copy = join(dirname(path), target).replace('/etc/.host/', '');
      return [path, files.get(copy)?.toString() ?? target];
    }),
  );
};

describe('CA certificates', () => {
  const bundle = 'etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem';

  it('of Fedora are live, and found by every name', () => {
    tree.file(bundle, 'CAs');
    link('etc/pki/tls/certs/ca-bundle.crt', `/${bundle}`);
    link('etc/pki/tls/cert.pem', 'certs/ca-bundle.crt');
    link('etc/ssl/certs', '../pki/tls/certs');
    link('etc/ssl/cert.pem', 'certs/ca-bundle.crt');
    expect(gather().live).toEqual(['/etc/pki/ca-trust/extracted', '/etc/pki/tls/certs']);
    expect(seen()).toEqual({
      '/etc/ssl/certs': '/etc/pki/tls/certs',
      '/etc/ssl/cert.pem': `/${bundle}`,
      '/etc/pki/tls/cert.pem': `/${bundle}`,
    });
  });

  it('of Arch and openSUSE as well', () => {
    tree.file('etc/ca-certificates/extracted/tls-ca-bundle.pem', 'CAs');
    link('etc/ssl/certs/ca-certificates.crt', '../../ca-certificates/extracted/tls-ca-bundle.pem');
    tree.file('var/lib/ca-certificates/ca-bundle.pem', 'more');
    link('etc/ssl/ca-bundle.pem', '/var/lib/ca-certificates/ca-bundle.pem');
    const { live, links } = gather();
    expect(live).toEqual(['/etc/ssl/certs', '/etc/ca-certificates/extracted', '/var/lib/ca-certificates']);
    expect([...links]).toEqual([['/etc/ssl/ca-bundle.pem', '/var/lib/ca-certificates/ca-bundle.pem']]);
  });

  it('that a link brings in from elsewhere are what it leads to', () => {
    tree.file('srv/pki/corp.pem', 'corp');
    tree.file('etc/ssl/certs/own.pem', 'own');
    tree.file('usr/share/ca.crt', 'usr');
    link('etc/ssl/certs/ca.pem', '/usr/share/ca.crt');
    link('etc/ssl/certs/hash.0', 'own.pem');
    link('etc/ssl/certs/corp.pem', '/srv/pki/corp.pem');
    const { live, links, files, inner } = gather();
    expect([live, [...links]]).toEqual([[], [['/etc/ssl/certs', '../.host/ssl/certs']]]);
    expect([...files].map(([path, bytes]) => [path, bytes.toString()])).toEqual([
      ['ssl/certs/corp.pem', 'corp'],
      ['ssl/certs/own.pem', 'own'],
    ]);
    expect([...inner]).toEqual([
      ['ssl/certs/ca.pem', '/usr/share/ca.crt'],
      ['ssl/certs/hash.0', 'own.pem'],
    ]);
  });
});

describe('what is for somebody alone', () => {
  it('is left out, wherever it lies and whatever leads to it', () => {
    tree.file('etc/shadow', 'root:x', 0o640);
    tree.file('etc/services', 'all');
    link('etc/protocols', 'shadow');
    tree.file('etc/java-17/security/key', 'mine', 0o600);
    tree.file('etc/java-17/security/java.security', 'all');
    tree.file('etc/ssl/private/cert.pem', 'closed');
    chmodSync(join(tree.path, 'etc/ssl/private'), 0o710);
    link('etc/ssl/cert.pem', 'private/cert.pem');
    tree.file('etc/pki/tls/cert.pem', 'x\n-----BEGIN PRIVATE KEY-----\n');
    expect([...gather().files.keys()]).toEqual(['services', 'java-17/security/java.security']);
  });

  it('is left out where people write passwords', () => {
    tree.file(
      'etc/maven/settings.xml',
      '<!-- <password>x</password> --><server><password>s3cret</password></server>',
    );
    tree.file('etc/maven/m2.conf', 'main is x');
    tree.file('etc/php/8.2/cli/php.ini', '; a comment\nmysqli.default_pw = "s3cret"\n');
    tree.file('etc/gitconfig', '[credential "https://git.example"]\n\thelper = store\n');
    expect([...gather().files.keys()]).toEqual(['maven/m2.conf']);
    expect(gather()).not.toHaveProperty('gitconfig');
  });

  it('is not what says nothing of it', () => {
    tree.file('etc/gitconfig', '[init]\n\tdefaultBranch = main\n');
    expect(gather().gitconfig).toContain('defaultBranch');
    expect(
      holdsPassword(
        '<!-- <password>x</password> -->\n; mysqli.default_pw = x\nmysqli.default_pw =\nnext = 1\n',
      ),
    ).toBe(false);
    expect(holdsPassword('[url "https://me:token@host/"]')).toBe(true);
    expect(holdsPassword('[http]\n  extraHeader = Authorization: Basic x')).toBe(true);
  });

  it('never ends where a link leads to a directory above it', () => {
    tree.file('etc/fonts/fonts.conf', 'x');
    link('etc/fonts/conf.d/up', '/etc/fonts');
    link('etc/fonts/conf.d/self', 'self');
    expect([...gather().files.keys()]).toEqual(['fonts/fonts.conf']);
  });
});
