import { expect, it } from 'vitest';
import { textPlace } from './text.ts';

it.each([
  ['', 0, 'line 1, column 1'],
  ['abc', 2, 'line 1, column 3'],
  ['a\nb\r\nc', 5, 'line 3, column 1'],
  ['é😀x', 3, 'line 1, column 3'],
])('textPlace says where in %j offset %i is', (text, offset, place) => {
  expect(textPlace(text, offset)).toBe(place);
});
