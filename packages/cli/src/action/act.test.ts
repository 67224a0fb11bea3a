import { CscError, openings } from '@csc-fleet/common/errors';
import { expect, it } from 'vitest';
import { describeError } from './act.ts';

it('says of sealed output which key opens it, and not that somebody signs', () => {
  const sealed = describeError(new CscError('KEY_UNKNOWN', `${openings.sealedTo}3d07, which is not here`));
  expect(sealed).toMatch(/What to do: .*csc submit --seal.*--seal-key FILE/);
  expect(describeError(new CscError('KEY_UNKNOWN', 'the key "a" has no say'))).not.toContain('--seal');
});
