import * as z from 'zod';

/** A list of at least `min` strings in which none comes twice. */
export function uniqueList<T extends z.ZodType<string>>(item: T, min: number) {
  const list = z.array(item);
  return (min > 0 ? list.min(min) : list)
    .superRefine(checkUnique, { when: () => true })
    .meta({ uniqueItems: true });
}

// Runs beside the items' own faults, so that all come at once; the value may be anything.
function checkUnique(value: unknown, context: z.core.$RefinementCtx): void {
  if (!Array.isArray(value)) return;
  const seen = new Map<unknown, number>();
  for (const [index, item] of value.entries()) {
    const earlier = seen.get(item);
    if (earlier === undefined) seen.set(item, index);
    else
      context.addIssue({
        code: 'custom',
        path: [index],
        message: `is the same as item ${earlier}: say it once`,
      });
  }
}
