import numbers from './system-calls.json' with { type: 'json' };

/** The architectures that a filter can be assembled for, as uname(2) calls them. */
export type Architecture = keyof typeof numbers;

const tables: Readonly<Record<Architecture, Readonly<Record<string, number>>>> = numbers;

/** The number of each system call by its name: the kernel's own tables, up to Linux 6.17. */
export function systemCalls(architecture: Architecture): Readonly<Record<string, number>> {
  return tables[architecture];
}

/** Whether an architecture that is known has such a call. */
export function isSystemCall(name: string): boolean {
  return Object.values(tables).some((table) => Object.hasOwn(table, name));
}
