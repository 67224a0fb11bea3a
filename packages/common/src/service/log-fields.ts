/** What is known of a field of a log line. */
export interface LogField {
  readonly type: 'text' | 'number' | 'texts' | 'object';
  /** Markdown. */
  readonly means: string;
}

const text = (means: string): LogField => ({ type: 'text', means });
const number = (means: string): LogField => ({ type: 'number', means });
const texts = (means: string): LogField => ({ type: 'texts', means });
const object = (means: string): LogField => ({ type: 'object', means });

/**
 * Every field that a log line of gate or executor may have, by the name that it is written with: the types of log calls,
 * docs/logs.md and the test that nothing else is written are made of it. In code a name may be in camel case.
 */
export const logFields = {
  level: number(
    '30 (info): as it should be; 40 (warn): its owner may want to do something; 50 (error): something was lost, or somebody must do something',
  ),
  time: number('milliseconds since 1970'),
  msg: text('what happened: the same words each time, with what differs in fields'),
  name: text('`csc-gate`, of a gate'),
  pid: number('of the process, of a gate'),
  execution_id: text('on every line about one run'),
  executor_id: text('the NAME in its SPIFFE id: the host itself, or at a gate the host that a line is about'),
  trace_id: text('of the run’s trace, while the run is open and where it has one'),
  error: object(
    '`reason` and `message`, and `cause` likewise; `stack` only of a fault in the program itself',
  ),
  error_id: text('what a caller was told in the place of this error'),
  reason: text('a code of docs/errors.md, or why the owners did something'),
  code: text('a code of docs/errors.md, or of the system'),
  why: text('for people'),
  text: text('`msg` of lines that were left out'),
  left_out: number('how many'),
  again: number('how often those came again'),
  others: number('how many more'),
  origin: text('how Node came by the exception'),
  owner: text('the run or the call that it was laid to'),
  identity: text('a SPIFFE id: of whom a certificate is'),
  receiver: text('host and port of a webhook’s url in gate.yaml'),
  principal: text('a SPIFFE id: who submitted it'),
  profile: text('a policy profile'),
  policies: texts('names of policy profiles'),
  reasons: texts('why the run would have been refused'),
  since_start: number('runs since the start that would have been refused'),
  since_its_start: number('the same, of the executor that the line is about'),
  address: text('of a peer, or where something listens'),
  listen: text('where the gate listens'),
  port: number('where metrics can be read'),
  endpoint: text('the collector of traces'),
  gate: text('the gate’s address'),
  mode: text('`hardened` or `local`'),
  slots: number('runs at once'),
  labels: text('of the executor, shortened'),
  open: number('its runs that are open'),
  bytes: number('of output'),
  for_ms: number('milliseconds that it is passed over'),
  wait_ms: number('milliseconds until the next attempt'),
  clock_is: text('how far the clock is off'),
  free: number('bytes that are free on the disk'),
  data_dir: text('of the gate'),
  directory: text('a directory'),
  outputs: number('runs whose output was forgotten'),
  output_bytes: number('bytes of it'),
  records: number('runs of which their receipt alone is left'),
  receipts: number('runs of which nothing is left'),
  missing: number('receipts of this host that are in no checkpoint of the log of receipts'),
  untaken: number('receipts of this host that its gate was brought and does not acknowledge'),
  executions: texts('execution ids'),
  vkey: text('the verification key of a log of receipts: what `--log-vkey` and log.yaml take'),
  witness: text('a witness, by its name'),
  receipt_log: text('the log of receipts, by its name'),
  key_id: text('of a signing key'),
  keys: texts('ids of the keys that have signed'),
  uid: number('of a job user'),
  ended: number('processes that were ended'),
  processes: number('of killed executors, ended at the start'),
  files: object(
    'what was left of killed executors and cleared away, as a number; or names of files that have changed',
  ),
  cgroups: number('of killed executors, removed'),
  epoch: text('of the executor’s journal'),
  before: text('the epoch before'),
  version: number('of the policy repository'),
  refreshed_at: text('when it was heard of last'),
  signed_at: text('when it was signed'),
  owners_signed_at: text('when its owners signed'),
  replaced: texts('what was taken up, by name'),
  needs_restart: texts('members of the config that have changed and wait for a restart'),
  certificate: text('the name of a certificate'),
  until: text('when it ends'),
  seconds: number('by which the clocks differ'),
  length: number('bytes of output that are there'),
  promised: number('bytes of output that the receipt vouches for'),
  days: number('until then; less than 0: since then'),
} as const satisfies Record<string, LogField>;

type Written = keyof typeof logFields;
type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

/** What a line may be given beside its text. `executor` is written as `executor_id`. */
export type LogFields = { readonly [Name in Written | Camel<Written> | 'executor']?: unknown };

/** The name that a field is written with. */
export function toWrittenName(name: string): string {
  if (name === 'executor') return 'executor_id';
  return name.replace(/[A-Z]/g, (it) => `_${it.toLowerCase()}`);
}
