/** What bwrap says of itself over `--json-status-fd`: one JSON document a line. */
export interface BwrapStatus {
  /** The host's pid of the sandbox's init. Comes before the sandbox is built. */
  readonly childPid?: number;
  /** Of the command. Absent at the end: bwrap itself failed. */
  readonly exitCode?: number;
}

/** Reads what has come so far; an unfinished last line is left for later. */
export function parseBwrapStatus(text: string): BwrapStatus {
  let status: BwrapStatus = {};
  for (const line of text.split('\n').slice(0, -1)) {
    const document = parseLine(line);
    const childPid = toInteger(document['child-pid']);
    const exitCode = toInteger(document['exit-code']);
    status = {
      ...status,
      ...(childPid === undefined ? {} : { childPid }),
      ...(exitCode === undefined ? {} : { exitCode }),
    };
  }
  return status;
}

function parseLine(line: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(line);
    return typeof document === 'object' && document !== null ? { ...document } : {};
  } catch {
    return {};
  }
}

function toInteger(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? Number(value) : undefined;
}
