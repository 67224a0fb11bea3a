// One flood, in a process of its own: node attack.ts NAME ADDRESS PKI_DIRECTORY SECONDS. It ends by itself.
import { join } from 'node:path';
import { floods } from './floods.ts';

const [name = '', address = '', pki = '', seconds = ''] = process.argv.slice(2);
const flood = floods[name];
if (flood === undefined) throw new Error(`there is no flood ${name}`);
const milliseconds = Number(seconds) * 1000;
// Whatever it waits for then.
setTimeout(() => process.exit(0), milliseconds + 500);
const files = (it: string) => ({
  ca: join(pki, 'ca.pem'),
  cert: join(pki, `${it}.pem`),
  key: join(pki, `${it}.key`),
});
const over = AbortSignal.timeout(milliseconds);
await flood({ address, client: files('client-mallory'), executor: files('executor-rogue'), over });
process.exit(0);
