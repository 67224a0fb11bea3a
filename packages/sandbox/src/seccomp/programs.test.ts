import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { createPlainSandbox, type PlainSandbox } from '@csc-fleet/test-kit/sandbox/plain-sandbox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let sandbox: PlainSandbox;
beforeAll(() => {
  sandbox = createPlainSandbox();
});
afterAll(() => sandbox.remove());

function outputOf(...argv: string[]): string {
  const { status, stdout, stderr } = sandbox.run(argv);
  expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: '' });
  return stdout.trim();
}

// --norc: its standard input is a socket, by which bash takes itself for a remote shell.
const sh = (script: string) => outputOf('bash', '--norc', '-ceu', script);

describe('under the filter', () => {
  it('bash runs pipelines, jobs and here documents', () => {
    expect(sh('sleep 0.01 & seq 3 | { cat; wait; } | tac | tr "\\n" " " && cat <<< end')).toBe('3 2 1 end');
  });

  it('python runs threads, processes, sockets and temporary files', () => {
    const code = `
import multiprocessing, socket, subprocess, tempfile, threading
if __name__ == '__main__':
    thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
    with multiprocessing.Pool(2) as pool: squares = pool.map(abs, [-1, 2])
    server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())
    pair = socket.socketpair(); pair[0].send(b'x')
    with tempfile.TemporaryFile() as file: file.write(b'x')
    print(squares, subprocess.check_output(['echo', 'child']).decode().strip(), pair[1].recv(1).decode())
`;
    expect(outputOf('/usr/bin/python3', '-c', code)).toBe('[1, 2] child x');
  });

  it('node runs workers, children, file watches and servers', () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const { createServer, connect } = require('node:net');
      require('node:fs').watch('.').close();
      const child = require('node:child_process').execFileSync('echo', ['child'], { encoding: 'utf8' }).trim();
      new Worker('require("node:crypto").randomBytes(8)', { eval: true }).on('exit', (code) => {
        const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1', () =>
          connect(server.address().port).resume().on('close', () => server.close(() => console.log(child, code))));
      });`;
    expect(outputOf(execPath, '-e', code)).toBe('child 0');
  });

  it('gcc and make build, and what they build runs', () => {
    const source = '#include <stdio.h>\nint main(void) { return puts("built") < 0; }\n';
    writeFileSync(join(sandbox.directory, 'main.c'), source);
    writeFileSync(
      join(sandbox.directory, 'Makefile'),
      'CC = gcc\nall: main other.o\nother.o: main.c\n\t$(CC) -c -o $@ $<\n',
    );
    outputOf('make', '-s', '-j2', 'all');
    expect(outputOf('./main')).toBe('built');
  });

  it('git keeps a repository', () => {
    const git = 'git -c user.name=a -c user.email=a@b -C repository';
    sh(
      `git init -q repository && echo x > repository/file && ${git} add . && ${git} commit -qm first && ${git} gc -q`,
    );
    expect(
      sh(`git clone -q repository copy && ${git} fsck --no-progress && git -C copy log --format=%s`),
    ).toBe('first');
  });

  it('tar, gzip and perl work on files', () => {
    sh(
      'mkdir tree && seq 1000 > tree/numbers && ln -s numbers tree/link && tar -czf tree.tgz tree && rm -r tree',
    );
    expect(sh('tar -xpzf tree.tgz && cmp tree/link tree/numbers && wc -l < tree/numbers')).toBe('1000');
    const code =
      'my $file = File::Temp->new; my $child = fork // die; exit 0 if !$child; waitpid $child, 0; print $?';
    expect(outputOf('perl', '-MFile::Temp', '-e', code)).toBe('0');
  });

  it('npm packs a package', () => {
    sh('mkdir pack && echo \'{"name":"a","version":"1.0.0"}\' > pack/package.json');
    expect(sh('cd pack && npm pack --silent --offline --cache ../npm-cache')).toBe('a-1.0.0.tgz');
  });
});
