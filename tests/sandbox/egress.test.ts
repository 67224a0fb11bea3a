import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { join } from 'node:path';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// The one way out of a sandbox, and what comes in by name: through the real gate, executor, proxy and sandbox.
let fleet: Fleet;
let plain: Server;
let secure: Server;
let other: Server;
let greeter: TcpServer;
const asked: string[] = [];

beforeAll(async () => {
  plain = createServer((request, response) => {
    asked.push(`${request.method} ${request.headers.host}${request.url}`);
    if (request.url === '/moved') response.writeHead(302, { location: `http://denied.test:${port(plain)}/` });
    response.end('hello from the host');
  });
  other = createServer((_, response) => response.end('should not be reached'));
  await listen(plain);
  await listen(other);
  // It speaks first, as servers of SSH and of databases do.
  greeter = createTcpServer((socket) => socket.on('error', () => {}).write('SSH-2.0-test\r\n'));
  greeter.on('connection', (socket) => socket.on('data', (data) => socket.end(`got ${data}`)));
  await listen(greeter);
  const tlsPort = await freePort();
  const hosts = [`localhost:${port(plain)}`, `localhost:${tlsPort}`, `localhost:tcp:${port(greeter)}`];
  fleet = await startFleet({
    executors: [
      {
        name: 'host',
        labels: { pool: 'open' },
        config: {
          ceiling: {
            network: 'allowlisted',
            egress_hosts: [...hosts, 'example.com'],
            secrets: ['TOKEN', 'OTHER'],
          },
          secrets: { directory: 'secrets' },
        },
      },
      { name: 'closed', labels: { pool: 'closed' }, config: { ceiling: {} } },
    ],
    policy: { network: 'full', allow_secret_refs: true, allowed_egress_hosts: [...hosts, 'unlisted.test'] },
    prepare(directory) {
      mkdirSync(join(directory, 'secrets'), { mode: 0o700 });
      writeFileSync(join(directory, 'secrets/TOKEN'), 'correct-horse-battery\n', { mode: 0o400 });
    },
  });
  const at = (name: string): string => join(fleet.directory, name);
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '1',
      '-keyout',
      at('tls.key'),
      '-out',
      at('tls.pem'),
      ...subject,
    ],
    { stdio: 'pipe' },
  );
  secure = createTlsServer(
    { key: readFileSync(at('tls.key')), cert: readFileSync(at('tls.pem')) },
    (request, response) => {
      asked.push(`TLS ${request.headers.host}${request.url}`);
      response.end('hello over TLS');
    },
  );
  await new Promise<void>((resolve) => secure.listen(tlsPort, '127.0.0.1', resolve));
}, 60_000);
afterAll(async () => {
  for (const server of [plain, secure, other, greeter]) server?.close();
  await fleet?.[Symbol.asyncDispose]();
});

function listen(server: TcpServer): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}

function port(server: TcpServer): number {
  return (server.address() as AddressInfo).port;
}

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly receipt: ReceiptV02;
}

/** Runs a Python program with an allowlisted network. */
async function python(
  text: string,
  command: Parameters<Fleet['contract']>[0] = {},
  selector = { pool: 'open' },
): Promise<Ran> {
  const script = join(fleet.workspace, 'program.py');
  writeFileSync(script, text);
  let [stdout, stderr] = ['', ''];
  const short = {
    argv: ['python3', script],
    network: 'allowlisted' as const,
    read_paths: [script],
    ...command,
  };
  const { receipt } = await fleet.connect().run(makeContract(fleet.workspace, [short]), {
    selector,
    handlers: {
      onStdout: (data: Buffer) => {
        stdout += data.toString();
      },
      onStderr: (data: Buffer) => {
        stderr += data.toString();
      },
    },
  });
  return { stdout, stderr, receipt: receipt as ReceiptV02 };
}

const urllib = `import ssl, sys, urllib.request, urllib.error
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
def get(url):
  try: print(urllib.request.build_opener(urllib.request.ProxyHandler(), urllib.request.HTTPSHandler(context=context)).open(url, timeout=10).read().decode())
  except urllib.error.HTTPError as error: print(error.code, error.read().decode().split(chr(10))[0])
  except Exception as error: print("refused", type(error).__name__)
`;

describe('an allowlisted network', () => {
  it('leads other protocols where both lists say tcp, by the helper that ssh is told of', async () => {
    const { stdout, receipt } = await python(`import os, subprocess
def connect(port):
  ran = subprocess.run(["/run/csc/connect", "localhost", str(port)], input=b"hello", capture_output=True, timeout=20)
  print((ran.stdout or ran.stderr).decode().strip().replace("\\r\\n", " "))
connect(${port(greeter)})
connect(${port(plain)})
connect(${port(other)})
config = subprocess.run(["ssh", "-G", "git.test"], capture_output=True, text=True).stdout
print([line for line in config.splitlines() if line.startswith("proxycommand")])
print(os.environ["NODE_OPTIONS"], os.access("/run/csc/node-proxy.cjs", os.R_OK), os.access("/run/csc/connect", os.W_OK))
`);
    const [greeted, spoke, refused, ...rest] = stdout.trim().split('\n');
    expect(greeted).toBe('SSH-2.0-test got hello');
    // A tunnel for HTTP: what is none is cut.
    expect(spoke).toBe('');
    expect(refused).toMatch(/^csc connect: localhost:\d+ is refused: .*NAME:tcp:PORT$/);
    expect(rest).toEqual([
      "['proxycommand /run/csc/connect %h %p']",
      '--require=/run/csc/node-proxy.cjs True False',
    ]);
    expect(receipt.effect_summary?.egress).toMatchObject({ allowed: 1, denied: 2 });
  });

  it('leads where policy and host allow, by the variables that programs know', async () => {
    const { stdout, receipt } = await python(
      `${urllib}get("http://localhost:${port(plain)}/a")\nget("https://localhost:${port(secure)}/b")`,
    );
    expect(stdout).toBe('hello from the host\nhello over TLS\n');
    expect(asked).toEqual(
      expect.arrayContaining([`GET localhost:${port(plain)}/a`, `TLS localhost:${port(secure)}/b`]),
    );
    expect(receipt.effect_summary).toMatchObject({ network_used: true, egress: { allowed: 2, denied: 0 } });
    expect(receipt.sandbox).toMatchObject({ network: 'allowlisted' });
  });

  it('leads nowhere else: another port, a name that only one side lists, an address, a redirect', async () => {
    const { stdout, receipt } = await python(
      `${urllib}get("http://localhost:${port(other)}/")\nget("http://unlisted.test/")\nget("http://example.com/")\nget("http://127.0.0.1:${port(plain)}/")\nget("http://localhost:${port(plain)}/moved")\nsys.exit(3)`,
    );
    // The terminal says what was refused: the program may not have.
    expect(receipt.error).toMatch(/refused 5×: .*example\.com:80 \(\w+\) 1×/);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(5);
    for (const line of lines) expect(line).toMatch(/^403|refused/);
    expect(stdout).not.toContain('should not');
    const { egress } = receipt.effect_summary ?? {};
    expect(egress).toMatchObject({ allowed: 1, denied: 5 });
    expect(egress?.hosts).toEqual(
      expect.arrayContaining([expect.objectContaining({ host: 'example.com', verdict: 'denied', count: 1 })]),
    );
  });

  it('is the only way out', async () => {
    const { stdout } = await python(
      `import socket\nfor address in (("127.0.0.1", ${port(plain)}), ("1.1.1.1", 443)):\n try: socket.create_connection(address, 2); print("connected")\n except OSError as error: print("refused")\ntry: socket.getaddrinfo("localhost.example.com", 80); print("resolved")\nexcept OSError: print("unresolved")`,
    );
    expect(stdout).toBe('refused\nrefused\nunresolved\n');
  });

  it('speaks SOCKS5, by name', async () => {
    const { stdout } = await python(
      `import os, socket, struct\nhost, port = os.environ["ALL_PROXY"].split("//")[1].split(":")\ndef ask(kind, address, to):\n s = socket.create_connection((host, int(port)), 5); s.sendall(b"\\x05\\x01\\x00"); s.recv(2)\n s.sendall(b"\\x05\\x01\\x00" + kind + address + struct.pack(">H", to)); answer = s.recv(64)\n if answer[1]: return print("refused", answer[1])\n s.sendall(b"GET /socks HTTP/1.1\\r\\nHost: localhost:%d\\r\\nConnection: close\\r\\n\\r\\n" % to)\n data = b""\n while chunk := s.recv(4096): data += chunk\n print(b"hello from the host" in data)\nask(b"\\x03", b"\\x09localhost", ${port(plain)})\nask(b"\\x03", b"\\x08evil.com", 80)\nask(b"\\x01", bytes([127, 0, 0, 1]), ${port(plain)})`,
    );
    expect(stdout).toBe('True\nrefused 2\nrefused 2\n');
  });

  it('serves every segment of a pipeline', async () => {
    const script = join(fleet.workspace, 'program.py');
    const { stdout, receipt } = await python(
      `${urllib}get("http://localhost:${port(plain)}/p"); print(sys.stdin.read(), end="")`,
      {
        argv: undefined as never,
        pipeline: [
          ['python3', script],
          ['python3', script],
        ],
      },
    );
    expect(stdout).toBe('hello from the host\nhello from the host\n');
    expect(receipt.effect_summary?.egress).toMatchObject({ allowed: 2 });
  });

  it('is not to be had where the host does not grant it, and full not without an approval', async () => {
    const refused = await python('', {}, { pool: 'closed' });
    expect(refused.receipt).toMatchObject({
      status: 'blocked',
      error: expect.stringContaining('commands[0].network'),
    });
    const full = await python('', { network: 'full' });
    expect(full.receipt).toMatchObject({
      status: 'blocked',
      error: expect.stringContaining('commands[0].network'),
    });
  });
});

describe('secrets', () => {
  const wants = { network: 'deny' as const, secret_refs: ['TOKEN'], env_allow: ['TOKEN_FILE'] };

  it('come as files that only the job can read, named by a variable, and are counted', async () => {
    const { stdout, receipt } = await python(
      `import os, stat\npath = os.environ["TOKEN_FILE"]\nprint(path, oct(os.stat(path).st_mode & 0o777), oct(os.stat("/run/secrets").st_mode & 0o777), len(open(path).read()), os.listdir("/run/secrets"))\ntry: open(path, "w")\nexcept OSError as error: print(error.errno)`,
      wants,
    );
    // Read-only as a file, and on a read-only file system: which of both is said is the kernel's to choose.
    expect(stdout).toMatch(/^\/run\/secrets\/TOKEN 0o400 0o700 21 \['TOKEN'\]\n(13|30)\n$/);
    expect(receipt.effect_summary).toMatchObject({ secrets_used: 1 });
    expect(JSON.stringify(receipt)).not.toContain('correct-horse');
  });

  it('are in no environment, command line or mount table', async () => {
    const { stdout } = await python(
      'import glob\nfor path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + ["/proc/self/mountinfo"]:\n try: print(path, b"correct" + b"-horse" in open(path, "rb").read())\n except OSError: pass',
      wants,
    );
    expect(stdout).not.toContain('True');
  });

  it('are masked in output: whole, in pieces, on stderr, in base64 and in a URL', async () => {
    const { stdout, stderr } = await python(
      'import base64, sys, time\nvalue = open("/run/secrets/TOKEN").read()\nprint("raw", value, flush=True)\nfor letter in value: sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.002)\nprint()\nprint(base64.b64encode(b"user:" + value.encode()).decode())\nprint(value.encode().hex())\nprint("on stderr " + value, file=sys.stderr)',
      wants,
    );
    expect(stdout.split('\n').slice(0, 2)).toEqual(['raw [secret:TOKEN]', '[secret:TOKEN]']);
    expect(stdout).not.toMatch(/correct|horse|Y29ycmVjd|636f7272/);
    expect(stderr).toBe('on stderr [secret:TOKEN]\n');
  });

  it('are not to be had by another name, or where the host has none', async () => {
    const unknown = await python('', { ...wants, secret_refs: ['UNKNOWN'] });
    expect(unknown.receipt).toMatchObject({
      status: 'blocked',
      error: expect.stringContaining('secret_refs[0]'),
    });
    const missing = await python('', { ...wants, secret_refs: ['OTHER'] });
    expect(missing.receipt).toMatchObject({ status: 'blocked', error: expect.stringContaining('OTHER') });
  });
});
