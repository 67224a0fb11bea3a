const parts = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/**
 * True where a JSON number, as written, is an integer within ±(2^53 - 1): `10`, `10.0` and `1e1` are. Judged on
 * the text, as `1e-400` and `1.00000000000000000001` would round to integers.
 */
export function isInteger(token: string): boolean {
  if (!Number.isSafeInteger(Number(token))) return false;
  const [, whole = '', fraction = '', exponent = '0'] = parts.exec(token) ?? [];
  const digits = `${whole}${fraction}`;
  const significant = digits.replace(/0+$/, '');
  const trailingZeros = digits.length - significant.length;
  return significant === '' || Number(exponent) + trailingZeros >= fraction.length;
}
