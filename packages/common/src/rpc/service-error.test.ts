import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CscError, isRpcReason, reasons } from '../errors/index.ts';
import { fromServiceError } from './from-service-error.ts';
import { Any, ErrorInfo, Status } from './generated.ts';
import { statusDetailsKey, toServiceError } from './service-error.ts';

function statusOf(error: { metadata: Metadata }): Status {
  const [bytes] = error.metadata.get(statusDetailsKey);
  if (!Buffer.isBuffer(bytes)) throw new Error('there are no details');
  return Status.decode(bytes);
}

describe('toServiceError', () => {
  it('gives reason, faults and retry time in google.rpc details', () => {
    const faults = [{ path: 'commands[0].cwd', message: 'must be absolute' }];
    const error = toServiceError(new CscError('RATE_LIMITED', 'too many', { faults, retryAfterMs: 1500 }));
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: 'too many' });
    const body = statusOf(error);
    expect(body).toMatchObject({ code: status.RESOURCE_EXHAUSTED, message: 'too many' });
    expect(body.details.map(({ typeUrl }) => typeUrl)).toEqual([
      'type.googleapis.com/google.rpc.ErrorInfo',
      'type.googleapis.com/google.rpc.BadRequest',
      'type.googleapis.com/google.rpc.RetryInfo',
    ]);
    expect(ErrorInfo.decode(body.details[0]?.value ?? Buffer.alloc(0))).toEqual({
      reason: 'RATE_LIMITED',
      domain: 'csc',
      metadata: {},
    });
  });

  it('gives every reason of the registry its status, and gets it back', () => {
    for (const reason of Object.keys(reasons).filter(isRpcReason)) {
      if (reason === 'INTERNAL') continue;
      const error = toServiceError(new CscError(reason, `it is ${reason}`));
      expect(status[error.code]).toBe(reasons[reason].status);
      expect(fromServiceError(error)).toMatchObject({ code: reason, message: `it is ${reason}` });
    }
  });

  it.each<[string, unknown]>([
    ['an exception', new Error('the password is hunter2')],
    ['a local error', new CscError('KEY_INVALID', 'the password is hunter2')],
    ['an internal error', new CscError('INTERNAL', 'the password is hunter2')],
    ['something thrown', 'the password is hunter2'],
    ['nothing', undefined],
  ])('says no more than an id of %s, and logs it', (_, thrown) => {
    const logged: [string, unknown][] = [];
    const error = toServiceError(thrown, (id, it) => logged.push([id, it]));
    const [[id] = ['']] = logged;
    expect(logged).toEqual([[expect.stringMatching(/^[0-9a-f]{12}$/), thrown]]);
    expect(error).toMatchObject({ code: status.INTERNAL, details: `internal error ${id}` });
    expect(JSON.stringify([error.message, statusOf(error)])).not.toContain('hunter2');
    expect(fromServiceError(error).code).toBe('INTERNAL');
  });

  it('does not send causes', () => {
    const error = toServiceError(new CscError('NOT_PERMITTED', 'no', { cause: new Error('hunter2') }));
    expect(JSON.stringify([error.message, error.cause ?? null, statusOf(error)])).not.toContain('hunter2');
  });

  it('stays below what clients take for metadata, and says how many faults are left out', () => {
    const faults = Array.from({ length: 100 }, (_, i) => ({
      path: `commands[${i}]`,
      message: 'é'.repeat(100),
    }));
    const error = toServiceError(new CscError('CONTRACT_INVALID', '😀'.repeat(5000), { faults }));
    const [details] = error.metadata.get(statusDetailsKey);
    expect(Buffer.from(details ?? '').toString('base64').length).toBeLessThan(8 * 1024);
    const back = fromServiceError(error);
    expect(back.faults.slice(0, -1)).toEqual(faults.slice(0, back.faults.length - 1));
    expect(back.faults.at(-1)?.message).toContain(String(100 - (back.faults.length - 1)));
  });

  it('takes a message that is cut within a surrogate pair', () => {
    const { details } = toServiceError(new CscError('NOT_PERMITTED', `${'x'.repeat(1023)}😀😀`));
    expect(details.isWellFormed()).toBe(true);
  });
});

describe('fromServiceError', () => {
  const failed = (code: number, metadata = new Metadata()): object =>
    Object.assign(new Error(), { code, details: 'as gRPC says', metadata });

  it('gives faults and retry time back', () => {
    const faults = [
      { path: 'a', message: 'is bad' },
      { path: '', message: 'is worse' },
    ];
    const error = fromServiceError(
      toServiceError(new CscError('QUEUE_FULL', 'full', { faults, retryAfterMs: 250.5 })),
    );
    expect(error).toMatchObject({ code: 'QUEUE_FULL', faults, retryAfterMs: 250.5 });
  });

  it('leaves a CscError as it is', () => {
    const error = new CscError('CANCELLED', 'gone');
    expect(fromServiceError(error)).toBe(error);
  });

  it.each([
    [status.UNAVAILABLE, 'GATE_UNREACHABLE'],
    [status.UNIMPLEMENTED, 'GATE_UNREACHABLE'],
    [status.UNAUTHENTICATED, 'GATE_UNREACHABLE'],
    [status.CANCELLED, 'CANCELLED'],
    [status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
    [status.RESOURCE_EXHAUSTED, 'MESSAGE_TOO_LARGE'],
    [status.INTERNAL, 'INTERNAL'],
    [status.UNKNOWN, 'INTERNAL'],
  ])('makes of the bare status %i %s', (code, expected) => {
    expect(fromServiceError(failed(code))).toMatchObject({ code: expected, message: 'as gRPC says' });
  });

  it('does not take a reason of another domain, an unknown one, or details that cannot be read', () => {
    const withInfo = (domain: string, reason: string): Metadata => {
      const value = Buffer.from(ErrorInfo.encode({ domain, reason, metadata: {} }).finish());
      const any = Any.fromPartial({ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value });
      const metadata = new Metadata();
      metadata.set(
        statusDetailsKey,
        Buffer.from(Status.encode({ code: 14, message: '', details: [any] }).finish()),
      );
      return metadata;
    };
    const garbage = new Metadata();
    garbage.set(statusDetailsKey, Buffer.from('ffffffffff', 'hex'));
    for (const metadata of [withInfo('other', 'QUEUE_FULL'), withInfo('csc', 'toString'), garbage]) {
      expect(fromServiceError(failed(status.UNAVAILABLE, metadata)).code).toBe('GATE_UNREACHABLE');
    }
    expect(fromServiceError(failed(status.UNAVAILABLE, withInfo('csc', 'DRAINING'))).code).toBe('DRAINING');
  });

  it.each([new Error('x'), 'x', undefined, null, { code: 'ENOENT' }])(
    'makes INTERNAL of %o, and keeps it',
    (error) => {
      expect(fromServiceError(error)).toMatchObject({ code: 'INTERNAL', cause: error });
    },
  );
});
