import { createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';

// X.690: a tag, how long it is, and what it holds.
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = 0x30;
// RFC 8410 §3: id-Ed25519, 1.3.101.112.
const ed25519 = der(sequence, Buffer.from([0x06, 0x03, 0x2b, 0x65, 0x70]));
// A common name that nobody reads: 2.5.4.3, as UTF-8.
const name = der(
  sequence,
  der(0x31, der(sequence, Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03]), der(0x0c, Buffer.from('csc job')))),
);
const dayMs = 86_400_000;

/**
 * A certificate (RFC 5280 §4.1, PEM) that a key has made of itself: it says nothing but which key it is, and TLS has its
 * holder prove that the private half is there. Good for a day, which nobody looks at.
 * @param key private, Ed25519
 */
export function selfSigned(key: KeyObject, now: Date): string {
  const utc = (at: Date) =>
    der(
      0x17,
      Buffer.from(
        `${at
          .toISOString()
          .replace(/[-:T]|\.\d+/g, '')
          .slice(2)}`,
      ),
    );
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const version3 = der(0xa0, der(0x02, Buffer.from([2])));
  const life = der(sequence, utc(new Date(now.getTime() - dayMs)), utc(new Date(now.getTime() + dayMs)));
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const signed = der(sequence, version3, der(0x02, serial), ed25519, name, life, name, spki);
  const signature = der(0x03, Buffer.from([0]), sign(null, signed, key));
  const text = der(sequence, signed, ed25519, signature).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${text.replace(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`;
}
