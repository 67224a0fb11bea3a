import { type Ending, endingSoon, type NamedCertificate, tellEnding } from '../identity/index.ts';
import type { Log } from './log.ts';

/** What a service reads from files, and can put something else into while it runs. */
export interface Renewable {
  /** As its config file calls it. */
  readonly name: string;
  /** What its files look like now: another text where one was written or replaced. */
  looks(): string;
  /**
   * Reads and checks them. Gives what puts them into place, which cannot fail, or undefined where they are what holds
   * already. Throws where they cannot be used.
   */
  prepare(): (() => void) | undefined;
  /** Those that end some day. */
  certificates?(): readonly NamedCertificate[];
}

/** What came of a reload. */
export interface ReloadOutcome {
  /** RFC 3339. */
  readonly at: string;
  /** Somebody asked for all of it, or files that had changed were taken up. */
  readonly why: 'asked' | 'changed';
  /**
   * When it began to read, as `process.hrtime.bigint()` has it, whose clock is the machine's (CLOCK_MONOTONIC,
   * clock_gettime(2)).
   */
  readonly begunNs: string;
  readonly outcome: 'reloaded' | 'refused';
  /** Where it was refused: why. */
  readonly error?: string;
  /** Otherwise: what the log says of it. */
  readonly fields?: object;
}

export interface UpkeepOptions {
  /** Those that are there from the start. */
  readonly renewables?: readonly Renewable[];
  /** Reads all else that a reload is for, and gives what puts it into place and then what to log of it. Throws likewise. */
  prepareRest(): () => object;
  readonly log: Log;
  /** How often the files are looked at. Default: every 2 s. */
  readonly everyMs?: number | undefined;
}

/** Keeps what a service has read up to date: on SIGHUP all of it, and certificates, keys and secrets by itself. */
export interface Upkeep {
  /** Has one more looked after. */
  add(renewable: Renewable): void;
  /** Has `said` called after each reload that was asked for, and each time that files were taken up or refused. */
  tell(said: (outcome: ReloadOutcome) => void): void;
  /** Begins to look, and to warn of certificates that end. */
  start(): void;
  stop(): void;
  /** As at SIGHUP. */
  reload(): void;
  /** As every few seconds: takes up files that look otherwise than before, and that have come to rest. */
  look(): void;
  /** Those that are in use, of all that it looks after. */
  certificates(): readonly NamedCertificate[];
  /** What its owner should look at, for people: certificates that end soon, and a reload that was refused. */
  warnings(): readonly string[];
}

const lookMs = 2_000;
const dayMs = 24 * 60 * 60 * 1000;

export function createUpkeep(options: UpkeepOptions): Upkeep {
  return new FilesUpkeep(options);
}

class FilesUpkeep implements Upkeep {
  readonly #options: UpkeepOptions;
  readonly #renewables: Renewable[] = [];
  /** What was last read of each, whatever came of it. */
  readonly #read = new Map<Renewable, string>();
  /** What each looked like at the last look. */
  readonly #seen = new Map<Renewable, string>();
  #refused: string | undefined;
  #said: ((outcome: ReloadOutcome) => void) | undefined;
  #timers: NodeJS.Timeout[] = [];
  readonly #onHangUp = (): void => this.reload();

  constructor(options: UpkeepOptions) {
    this.#options = options;
    for (const it of options.renewables ?? []) this.add(it);
    // Without a handler it would end the process (daemon(7), systemd's ExecReload).
    process.on('SIGHUP', this.#onHangUp);
  }

  add(renewable: Renewable): void {
    this.#renewables.push(renewable);
    this.#read.set(renewable, renewable.looks());
  }

  tell(said: (outcome: ReloadOutcome) => void): void {
    this.#said = said;
  }

  start(): void {
    this.#warn();
    this.#timers = [
      setInterval(() => this.look(), this.#options.everyMs ?? lookMs).unref(),
      setInterval(() => this.#warn(), dayMs).unref(),
    ];
  }

  stop(): void {
    process.off('SIGHUP', this.#onHangUp);
    for (const timer of this.#timers) clearInterval(timer);
  }

  reload(): void {
    const { prepareRest, log } = this.#options;
    const begun = { why: 'asked', begunNs: String(process.hrtime.bigint()) } as const;
    try {
      // All of it before any of it: a reload is taken whole, or not at all.
      const takeRest = prepareRest();
      const replaced = this.#takeUp(this.#renewables);
      const fields = { ...takeRest(), ...(replaced.length === 0 ? {} : { replaced }) };
      // What the owner has changed and does not get is no matter of course.
      if (waitsForRestart(fields)) log.warn(fields, 'reloaded');
      else log.info(fields, 'reloaded');
      this.#say({ ...begun, outcome: 'reloaded', fields });
    } catch (error) {
      log.error({ error }, 'not reloaded: what was loaded before goes on');
      this.#say({ ...begun, outcome: 'refused', error: messageOf(error) });
    }
  }

  look(): void {
    const { log } = this.#options;
    const begun = { why: 'changed', begunNs: String(process.hrtime.bigint()) } as const;
    const changed = this.#renewables.filter((it) => {
      const looks = it.looks();
      // A certificate and its key are seldom replaced in one moment: what still changes is left for the next look.
      const rests = this.#seen.get(it) === looks;
      this.#seen.set(it, looks);
      return rests && this.#read.get(it) !== looks;
    });
    if (changed.length === 0) return;
    try {
      const replaced = this.#takeUp(changed);
      if (replaced.length > 0) log.info({ replaced }, 'files have changed, and were taken up');
      this.#say({ ...begun, outcome: 'reloaded', fields: { replaced } });
    } catch (error) {
      const names = changed.map(({ name }) => name);
      log.error(
        { error, files: names },
        'files have changed and cannot be used: what was loaded before goes on',
      );
      this.#say({ ...begun, outcome: 'refused', error: messageOf(error) });
    }
  }

  warnings(): readonly string[] {
    const endings = endingSoon(this.certificates(), new Date()).map(tellEnding);
    return this.#refused === undefined
      ? endings
      : [`the last reload was refused: ${this.#refused}`, ...endings];
  }

  /** Gives the names of those that are something else now. */
  #takeUp(renewables: readonly Renewable[]): string[] {
    for (const it of renewables) this.#read.set(it, it.looks());
    const prepared = renewables.map((it) => ({ name: it.name, put: it.prepare() }));
    for (const { put } of prepared) put?.();
    const replaced = prepared.filter(({ put }) => put !== undefined).map(({ name }) => name);
    if (replaced.length > 0) this.#warn();
    return replaced;
  }

  #say(outcome: Omit<ReloadOutcome, 'at'>): void {
    this.#refused = outcome.error;
    this.#said?.({ at: new Date().toISOString(), ...outcome });
  }

  certificates(): NamedCertificate[] {
    return this.#renewables.flatMap((it) => [...(it.certificates?.() ?? [])]);
  }

  #warn(): void {
    const { log } = this.#options;
    for (const ending of endingSoon(this.certificates(), new Date())) logEnding(log, ending);
  }
}

function logEnding(log: Log, ending: Ending): void {
  if (ending.days < 0) log.error(ending, 'a certificate has ended: renew it');
  else log.warn(ending, 'a certificate ends soon: renew it');
}

function waitsForRestart(fields: object): boolean {
  return 'needs_restart' in fields && Array.isArray(fields.needs_restart) && fields.needs_restart.length > 0;
}

// In one line, where a refused document has one a fault.
function messageOf(error: unknown): string {
  const [first = '', ...faults] = (error instanceof Error ? error.message : String(error)).split(/\n\s*/);
  return faults.length === 0 ? first : `${first} ${faults.join('; ')}`;
}
