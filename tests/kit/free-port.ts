import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

// Linux has these for nobody but who names them: who asks for any port, or connects, gets one of 32768 to 60999 (ip(7),
// ip_local_port_range). So what listened on one finds it free when it is started again.
const [first, count] = [10_000, 22_000];
let next = randomInt(count);

/** A port on loopback that nothing listens on, and that stays so for who was given it; another one each time. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + (next++ % count);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
