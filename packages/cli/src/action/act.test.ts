import { CscError, openings } from '@csc-fleet/common/errors';
import { expect, it } from 'vitest';
import { describeError, errorDocument } from './act.ts';

it('says of sealed output which key opens it, and not that somebody signs', () => {
  const sealed = describeError(new CscError('KEY_UNKNOWN', `${openings.sealedTo}3d07, which is not here`));
  expect(sealed).toMatch(/What to do: .*csc submit --seal.*--seal-key FILE/);
});

it('says of a key that is not known where to get it: of a receipt from its host, of a policy repository from its owners', () => {
  const ofReceipt = describeError(new CscError('KEY_UNKNOWN', 'no key with the id "a" is trusted'));
  expect(ofReceipt).toMatch(/What to do: give the key of the host that signed.*csc executor keys --export/);
  const ofRepository = describeError(new CscError('KEY_UNKNOWN', `${openings.noSay}"a"`));
  expect(ofRepository).toMatch(/What to do: sign with a key that its root names/);
});

it('says in JSON what to do, too, where the message and its faults do not', () => {
  const full = new CscError('QUEUE_FULL', 'so many wait', { retryAfterMs: 5 });
  expect(errorDocument(full)).toEqual({
    error: 'so many wait',
    code: 'QUEUE_FULL',
    remedy: 'wait, or connect more executors',
    retry_after_ms: 5,
  });
  const faults = [{ path: 'intent', message: 'is required (a string)' }];
  const refused = new CscError('SUBMISSION_INVALID', 'the submission was refused:\n  …', { faults });
  expect(errorDocument(refused)).toEqual({
    error: 'the submission was refused',
    code: 'SUBMISSION_INVALID',
    faults,
  });
});
