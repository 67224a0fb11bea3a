import { statfsSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type NamedCertificate, validityOf } from '../identity/index.ts';
import type { Instruments, InstrumentTable } from './instruments.ts';

const quantiles = { '0.5': 50, '0.99': 99, '1': 100 } as const;

/** What gate and executor tell alike: Prometheus's own label `job` says of whom. */
export const serviceInstruments = {
  csc_build_info: {
    kind: 'gauge',
    means: 'Always 1; its label is the release',
    labels: { version: { means: 'the release', most: 4 } },
  },
  csc_process_start_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'When the process was started, in seconds since 1970',
  },
  csc_process_cpu_seconds_total: {
    kind: 'total',
    unit: 's',
    means: 'Processor time of the service, without its jobs',
    labels: { mode: { means: '`user`, `system`', values: ['user', 'system'] } },
  },
  csc_process_memory_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'Memory of the service, without its jobs',
    labels: {
      kind: {
        means: '`rss`: all that is resident; `heap`: JavaScript objects; `external`: buffers',
        values: ['rss', 'heap', 'external'],
      },
    },
  },
  csc_event_loop_delay_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'How late the service turns to what is due, since it was last looked at',
    labels: { quantile: { means: '`0.5`, `0.99`, `1`', values: Object.keys(quantiles) } },
  },
  csc_certificate_days_left: {
    kind: 'gauge',
    unit: 'd',
    means: 'Days until a certificate that the service uses ends; negative where it has',
    labels: { certificate: { means: 'its file, or what the config calls it', most: 32 } },
  },
  csc_certificate_renewals_failed: {
    kind: 'gauge',
    means:
      'How often in a row the CA has not renewed the service’s certificates; 0 once it has, absent where none renews them',
  },
  csc_disk_free_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'What the disk of the service’s directory has left',
    labels: {
      directory: {
        means: '`data_dir` of a gate, `state_dir` of an executor',
        values: ['data_dir', 'state_dir'],
      },
    },
  },
  csc_disk_size_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'The size of that disk',
    labels: { directory: { means: 'the same', values: ['data_dir', 'state_dir'] } },
  },
  csc_policy_version: {
    kind: 'gauge',
    means:
      'The version of the owners’ policy repository that counts here; absent where there is a plain folder',
  },
  csc_policy_faults: {
    kind: 'gauge',
    means:
      'How much is wrong with what the owners’ policy repository holds: it cannot be taken, kept or kept fresh, or was changed by who cannot sign it; `csc status` says what. 0 where nothing is; absent of an executor',
  },
  csc_policy_age_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'How long ago it was signed that there is nothing newer',
  },
  csc_policy_max_age_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'Beyond that the host refuses everything (POLICY_STALE): `max_staleness_sec`; absent of a gate',
  },
} as const satisfies InstrumentTable;

/** The owners' word as it was last heard. */
export interface PolicyWord {
  readonly version: number;
  /** When this host last took it. */
  readonly refreshedAt: Date;
  /** When it was last signed that there is nothing newer. Absent: by an older release, which does not say. */
  readonly signedAt?: Date;
  /** As old as it may be. Absent: nobody here refuses for its age. */
  readonly maxAgeSec?: number;
}

export interface ServiceFacts {
  readonly version: string;
  readonly directory: { readonly name: 'data_dir' | 'state_dir'; readonly path: string };
  readonly certificates: () => readonly NamedCertificate[];
  /** Attempts in a row; gives undefined where no CA renews them. */
  readonly renewalFailures: () => number | undefined;
  /** Gives undefined where there is no repository, or nothing was heard of it. */
  readonly policy: () => PolicyWord | undefined;
  /** Gives undefined where there is no repository. Absent: this service serves none. */
  readonly policyFaults?: (() => number | undefined) | undefined;
  readonly now: () => Date;
}

const dayMs = 24 * 60 * 60 * 1000;
const delayResolutionMs = 20;

/** Tells what every service does. What it gives stops what that takes. */
export function observeService(
  instruments: Instruments<typeof serviceInstruments>,
  { version, directory, certificates, renewalFailures, policy, policyFaults, now }: ServiceFacts,
): () => void {
  instruments.observe('csc_build_info', (say) => say(1, { version }));
  const startedAt = now().getTime() / 1000 - process.uptime();
  instruments.observe('csc_process_start_seconds', (say) => say(startedAt, {}));
  instruments.observe('csc_process_cpu_seconds_total', (say) => {
    const { user, system } = process.cpuUsage();
    say(user / 1e6, { mode: 'user' });
    say(system / 1e6, { mode: 'system' });
  });
  instruments.observe('csc_process_memory_bytes', (say) => {
    const { rss, heapUsed, external } = process.memoryUsage();
    say(rss, { kind: 'rss' });
    say(heapUsed, { kind: 'heap' });
    say(external, { kind: 'external' });
  });
  instruments.observe('csc_certificate_days_left', (say) => {
    for (const [name, days] of shortestOf(certificates(), now())) say(days, { certificate: name });
  });
  instruments.observe('csc_certificate_renewals_failed', (say) => {
    const failures = renewalFailures();
    if (failures !== undefined) say(failures, {});
  });
  observeDisk(instruments, directory);
  instruments.observe('csc_policy_version', (say) => {
    const word = policy();
    if (word !== undefined) say(word.version, {});
  });
  instruments.observe('csc_policy_faults', (say) => {
    const faults = policyFaults?.();
    if (faults !== undefined) say(faults, {});
  });
  instruments.observe('csc_policy_age_seconds', (say) => {
    const word = policy();
    if (word === undefined) return;
    const { signedAt = word.refreshedAt } = word;
    say((now().getTime() - signedAt.getTime()) / 1000, {});
  });
  instruments.observe('csc_policy_max_age_seconds', (say) => {
    const { maxAgeSec } = policy() ?? {};
    if (maxAgeSec !== undefined) say(maxAgeSec, {});
  });
  return observeEventLoop(instruments);
}

// A file may hold a chain: what ends first counts.
function shortestOf(certificates: readonly NamedCertificate[], now: Date): Map<string, number> {
  const days = new Map<string, number>();
  for (const { name, certificate } of certificates) {
    const left = (validityOf(certificate).until.getTime() - now.getTime()) / dayMs;
    days.set(name, Math.min(left, days.get(name) ?? left));
  }
  return days;
}

function observeDisk(
  instruments: Instruments<typeof serviceInstruments>,
  { name, path }: ServiceFacts['directory'],
): void {
  instruments.observe('csc_disk_free_bytes', (say) => {
    const { bavail, bsize } = statfsSync(path);
    say(bavail * bsize, { directory: name });
  });
  instruments.observe('csc_disk_size_bytes', (say) => {
    const { blocks, bsize } = statfsSync(path);
    say(blocks * bsize, { directory: name });
  });
}

function observeEventLoop(instruments: Instruments<typeof serviceInstruments>): () => void {
  const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
  delays.enable();
  instruments.observe('csc_event_loop_delay_seconds', (say) => {
    // What it measures is the time between its own ticks; before the first, it has none.
    if (delays.count > 0)
      for (const [quantile, percentile] of Object.entries(quantiles))
        say(Math.max(0, delays.percentile(percentile) / 1e9 - delayResolutionMs / 1000), { quantile });
    delays.reset();
  });
  return () => delays.disable();
}
