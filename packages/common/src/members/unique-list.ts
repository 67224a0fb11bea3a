import * as z from 'zod';

/** A list of at least `min` items in which none comes twice. */
export function uniqueList<T extends z.ZodType<string | Readonly<Record<string, string>>>>(
  item: T,
  min: number,
) {
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
    // An object is the same as another that says the same, in whatever order.
    const key =
      typeof item === 'object' && item !== null ? JSON.stringify(Object.entries(item).sort()) : item;
    const earlier = seen.get(key);
    if (earlier === undefined) seen.set(key, index);
    else
      context.addIssue({
        code: 'custom',
        path: [index],
        message: `is the same as item ${earlier}: say it once`,
      });
  }
}
