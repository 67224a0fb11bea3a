import type { Clock } from '@csc-fleet/common/encoding';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { Cosigning, WitnessAddress } from '../log/cosigning.ts';
import type { LogKey } from '../log/log-key.ts';
import type { ReceiptLog } from '../log/receipt-log.ts';
import type { Store } from '../store/store.ts';

/** The log of receipts, and those who cosign it. */
interface LogParts {
  /** Absent: this gate keeps none. */
  readonly log: ReceiptLog | undefined;
  /** Absent: nobody cosigns it. */
  readonly cosigning: Cosigning | undefined;
  /** Why this log is not the one of this key, which the owners name, for people; undefined where it is, or they name none. */
  describeOther(named: string | undefined): string | undefined;
  /** What its owner should look at, for people. @param other as `describeOther` gives it */
  troubles(other: string | undefined): readonly string[];
}

interface LogPorts {
  readonly store: Store;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
  readonly onWarning: (message: LogMessage<'warn'>, details: LogFields) => void;
}

/** Opens the log of a gate that keeps one. Both are loaded by such a gate alone. */
export async function openLogParts(
  { log: key, witnesses = [] }: { readonly log?: LogKey; readonly witnesses?: readonly WitnessAddress[] },
  { store, clock, onError, onWarning }: LogPorts,
): Promise<LogParts> {
  const log =
    key && (await (await import('../log/receipt-log.ts')).ReceiptLog.open({ ...key, store, onError }));
  const cosigning = log && (await openCosigning(log, witnesses, { onWarning, clock }));
  return {
    log,
    cosigning,
    describeOther: (named) => key && describeOtherLog(key, named),
    troubles: (other) => logTroubles(log, cosigning, other),
  };
}

async function openCosigning(
  log: ReceiptLog,
  witnesses: readonly WitnessAddress[],
  ports: Pick<LogPorts, 'onWarning' | 'clock'>,
): Promise<Cosigning | undefined> {
  if (witnesses.length === 0) return undefined;
  const { Cosigning } = await import('../log/cosigning.ts');
  return new Cosigning({ log, witnesses, ...ports });
}

// Its key was lost or replaced, or theirs is not published yet; those who refuse its receipts for it do not ask its owner.
function describeOtherLog(own: LogKey, named: string | undefined): string | undefined {
  if (named === undefined || named === own.vkey) return undefined;
  return `the log of receipts is that of ${own.vkey}, and the owners’ log.yaml names ${named}: who goes by it refuses this gate’s receipts; publish this key there, or bring back log/ of the data directory`;
}

// Who demands the log waits meanwhile, and sees no reason here.
function logTroubles(
  log: ReceiptLog | undefined,
  cosigning: Cosigning | undefined,
  other: string | undefined,
): string[] {
  const { trouble } = log ?? {};
  return [
    ...(other === undefined ? [] : [other]),
    ...(trouble === undefined ? [] : [`the log of receipts takes nothing in: ${trouble}`]),
    ...(cosigning?.failing ?? []).map(
      ({ name, why }) => `the witness ${name} does not cosign the log: ${why}`,
    ),
  ];
}
