/** Something that is not as it should be, in words. */
export interface EvidenceFault {
  readonly kind: string;
  readonly message: string;
  /** Of a receipt: what it is called, and what the message says of it. */
  readonly receipt?: { readonly name: string; readonly why: string };
}

/** A line for each, and one for all receipts of which the same is to be said: with the wrong key, that is every one. */
export function describeFaults(faults: readonly EvidenceFault[]): string[] {
  const groups = Map.groupBy(faults, ({ kind, message, receipt }) =>
    JSON.stringify([kind, receipt?.why ?? message]),
  );
  return [...groups.values()].flatMap((alike) => {
    const [first, last] = [alike[0]?.receipt, alike.at(-1)?.receipt];
    if (alike.length === 1 || first === undefined)
      return alike.map(({ kind, message }) => `${kind}: ${message}`);
    return [
      `${alike[0]?.kind}: ${alike.length} receipts, from ${first.name} to ${last?.name}, each: ${first.why}`,
    ];
  });
}

/** The same, for programs: all of them. */
export function faultJson({ kind, message }: EvidenceFault): object {
  return { kind, message };
}
