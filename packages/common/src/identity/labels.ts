// The subject of a certificate says them, as its organizational units: Node reads those from the certificate that it has
// verified, and whoever looks at the certificate with other tools sees them.
const marker = 'csc-labels';
const prefix = 'csc-label:';

/** The organizational units of the certificate of a host with these labels, which may be none. */
export function labelUnits(labels: Readonly<Record<string, string>>): string[] {
  const names = Object.keys(labels).sort();
  return [marker, ...names.map((name) => `${prefix}${name}=${labels[name]}`)];
}

/**
 * The labels that a CA has certified for a host; undefined where its certificate says nothing of labels, as those of a CA
 * that knows of none.
 * @param units as Node gives them: toLegacyObject().subject.OU, or that of a peer's certificate
 */
export function labelsInUnits(units: unknown): Record<string, string> | undefined {
  const texts: unknown[] = Array.isArray(units) ? units : [units];
  if (!texts.includes(marker)) return undefined;
  const pairs = texts.flatMap((text) => {
    if (typeof text !== 'string' || !text.startsWith(prefix)) return [];
    const [name = '', ...value] = text.slice(prefix.length).split('=');
    return [[name, value.join('=')] as const];
  });
  return Object.fromEntries(pairs);
}

/** A label that is not among those that are certified, or has another value; undefined where each is. */
export function uncertifiedLabel(
  labels: Readonly<Record<string, string>>,
  certified: Readonly<Record<string, string>>,
): string | undefined {
  const known = new Map(Object.entries(certified));
  return Object.keys(labels).find((name) => known.get(name) !== labels[name]);
}
