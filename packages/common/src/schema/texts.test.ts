import { describe, expect, it } from 'vitest';
import { boundedText, name, nonEmptyText } from './texts.ts';

describe('boundedText', () => {
  const schema = boundedText({ min: 2, max: 4 });

  it.each(['ab', 'abcd', '😀😀', '😀😀😀😀', 'a😀', 'e\u0301'])('accepts %j', (text) => {
    expect(schema.safeParse(text).success).toBe(true);
  });

  it.each(['', 'a', '😀', 'abcde', '😀😀😀😀😀', 'abcd😀'])('refuses %j', (text) => {
    expect(schema.safeParse(text).success).toBe(false);
  });
});

describe('name', () => {
  it('refuses a NUL, which ends an argument of the launcher', () => {
    expect(name.safeParse('A\0--bind').success).toBe(false);
    expect(nonEmptyText.safeParse('A\0').success).toBe(true);
  });
});
