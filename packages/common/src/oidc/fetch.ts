import { request } from 'node:https';
import { CscError } from '../errors/index.ts';

/** Of one answer. */
const maxBytes = 256 * 1024;
const timeoutMs = 3_000;

/**
 * The body at an https URL: an answer 200 of at most 256 KiB within three seconds, from that very server, as nothing is
 * followed elsewhere. Rejects with CscError REPOSITORY_UNREACHABLE.
 * @param ca PEM of what its certificate must chain to. Undefined: what Node trusts.
 */
export function fetchJson(url: string, ca: string | undefined): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      reject(new CscError('REPOSITORY_UNREACHABLE', why, cause === undefined ? {} : { cause }));
      asked.destroy();
    };
    const asked = request(
      url,
      {
        method: 'GET',
        headers: { accept: 'application/json' },
        rejectUnauthorized: true,
        // A connection of its own: none is kept, and no proxy of the environment is asked.
        agent: false,
        maxHeaderSize: 16 * 1024,
        signal: AbortSignal.timeout(timeoutMs),
        ...(ca === undefined ? {} : { ca }),
      },
      (answer) => {
        asked.off('close', hungUp);
        if (answer.statusCode !== 200) return fail(`it answered ${answer.statusCode}`);
        const chunks: Buffer[] = [];
        let length = 0;
        answer.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxBytes) return fail(`it answered with more than ${maxBytes} bytes`);
          chunks.push(chunk);
        });
        answer.on('end', () => resolve(Buffer.concat(chunks)));
        answer.on('error', (error) => fail('its answer was cut off', error));
      },
    );
    // An answer 101 is neither a response nor an error: without this, whoever waits for these keys waits for ever.
    const hungUp = (): void => fail('it hung up without an answer');
    asked.once('close', hungUp);
    asked.on('error', (error) => fail('it could not be asked', error));
    asked.end();
  });
}
