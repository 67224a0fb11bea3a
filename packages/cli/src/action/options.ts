import { InvalidArgumentError } from 'commander';

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `1500ms`, `30s`, `5m`, `1h` or plain seconds; for commander options. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const unit = units[match?.[2] ?? 's'];
  if (match?.[1] === undefined || unit === undefined) {
    throw new InvalidArgumentError('Say it as 1500ms, 30s, 5m or 1h.');
  }
  return Math.round(Number(match[1]) * unit);
}

/** When something was: so long ago, in milliseconds, or at a time. */
export type Moment = { readonly agoMs: number } | { readonly at: Date };

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

/** A moment as a duration before now, `5m`, or as an RFC 3339 time with its zone; for commander options. */
export function parseMoment(text: string): Moment {
  if (!rfc3339.test(text)) return { agoMs: parseDuration(text) };
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw new InvalidArgumentError('There is no such time.');
  return { at };
}

const sizes: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Bytes of `10485760`, `512K`, `50M` or `1GiB`; for commander options. */
export function parseBytes(text: string): number {
  const match = /^(\d{1,15})(?:([KMG])(?:iB)?)?$/.exec(text);
  const bytes = Number(match?.[1]) * (sizes[match?.[2] ?? ''] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes)) throw new InvalidArgumentError('Say it as 10485760, 512K, 50M or 1G.');
  return bytes;
}

/** Collects the values of an option that may be given several times; for commander options. */
export function append(value: string, list: readonly string[] = []): readonly string[] {
  return [...list, value];
}
