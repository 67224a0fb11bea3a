/** Who writes a line: gate and executor alike, one of them, or a CA with what renews by it. */
export type LogWriter = 'both' | 'gate' | 'executor' | 'ca';
type Level = 'error' | 'warn' | 'info';

/** What is known of a text that a log line has. */
export interface LogMessageFacts {
  readonly of: LogWriter;
  /** Those that it is written with, the usual one first. */
  readonly levels: readonly Level[];
  /** Markdown: what its owner does. Empty: nothing, it is as it should be. */
  readonly remedy: string;
}

const info = <Of extends LogWriter>(of: Of, remedy = '') => ({ of, levels: ['info'], remedy }) as const;
const warn = <Of extends LogWriter>(of: Of, remedy: string) => ({ of, levels: ['warn'], remedy }) as const;
const error = <Of extends LogWriter>(of: Of, remedy: string) => ({ of, levels: ['error'], remedy }) as const;

const report = 'The program is at fault: report it, with `error` and its `stack`.';
const disk = 'Look at the disk of its `state_dir`.';
const itself = 'Nothing: it is tried again.';

/**
 * Every text that a log line of gate, executor or CA may have as `msg`, the same each time: the types of log calls and
 * the tables of docs/logs.md are made of it.
 */
export const logMessages = {
  // Gate and executor.
  'an exception that nobody caught': error(
    'both',
    `What it was laid to (\`owner\`) was ended, and the rest goes on. ${report}`,
  ),
  'ending, to be started again': error(
    'both',
    'Have it started again, as the units of deploy/systemd do; `why` says what it cannot go on with: mostly the disk.',
  ),
  'a certificate has ended: renew it': error(
    'both',
    'Have another one issued for `certificate`; where a `csc ca` issues them: `csc ca token --again`, and join again ([the CA](ca.md#renewal)).',
  ),
  'a certificate ends soon: renew it': warn('both', 'The same, before `until`.'),
  'the CA has renewed the certificate': info('both'),
  'the certificate could not be renewed; trying again': warn(
    'both',
    'See that the CA runs and can be reached, and that the folder of `tls.cert` can be written; until `until` nothing is lost.',
  ),
  'the CA does not renew the certificate': error(
    'both',
    '`error` says why: another has joined in its place, or it is revoked. Join again with a new token, if that is to be.',
  ),
  reloaded: {
    of: 'both',
    levels: ['info', 'warn'],
    remedy: 'As a warning: start it again when it suits you, for what `needs_restart` names.',
  },
  'not reloaded: what was loaded before goes on': error('both', 'Mend what `error` names, and reload again.'),
  'files have changed, and were taken up': info('both'),
  'what the owners say counts, and cannot be kept on disk: a restart may not know it': error(
    'both',
    'Make room on the disk of `data_dir` or `state_dir`, or let the service’s user write there; it is kept by itself then.',
  ),
  'files have changed and cannot be used: what was loaded before goes on': error(
    'both',
    'Mend the `files` that it names: they are looked at again by themselves.',
  ),
  'what csc admin reload looks at cannot be written': warn(
    'both',
    'See that `data_dir` or `state_dir` can be written; until then reload by SIGHUP.',
  ),
  'metrics can be read: GET /metrics': info('both'),
  'no metrics: cannot listen at telemetry.metrics.address; it is tried again': error(
    'both',
    'Free that address, or name another one.',
  ),
  'traces do not reach their collector: they are dropped': warn(
    'both',
    'See that the collector runs at `endpoint`, and takes `http/json` ([traces](traces.md)).',
  ),
  'traces reach their collector again': info('both'),
  'lines were left out of the log': warn(
    'both',
    'Look at what `text` is about: it came more than a hundred times in a minute.',
  ),
  'internal error': error('both', report),
  listening: info('both'),

  // The gate.
  stopping: info('gate'),
  'this gate keeps a log of receipts': info('gate'),
  'no tls in the config: using a development PKI whose CA key lies beside it; clients use client-dev, executors executor-dev':
    warn('gate', 'For more than a trial, give it `tls` ([the CA](ca.md)).'),
  'an error that no caller waits for': error('gate', 'Look at the disk of `data_dir`; else report it.'),
  'the store takes writes again': info('gate'),
  'the new signing key could not be kept; the old one goes on': error(
    'gate',
    'Mend what `error` names, and put the key in its place once more.',
  ),
  'a peer was not let in': warn(
    'gate',
    'Where it is one of yours, `reason` and `code` say what to renew; else it is a stranger, and the bounds hold.',
  ),
  'more peers were not let in within the last minute': warn(
    'gate',
    'The same: `again` and `others` count them.',
  ),
  'executor connected': info('gate'),
  'executor disconnected': {
    of: 'gate',
    levels: ['info', 'warn'],
    remedy: 'Where it does not come back, look at that host.',
  },
  'the clock of an executor is too far off: nothing is placed there': info(
    'gate',
    'Set the clock of that host right, or this one’s (`timedatectl`).',
  ),
  'the clock of an executor is right again': info('gate'),
  'an executor has no room on its disk, or no certificate that counts: nothing is placed there': info(
    'gate',
    'See to that host; `why` says to what.',
  ),
  'an executor takes offers again: what it lacked is there': info('gate'),
  'an executor had to refuse for a fault of its own, and is passed over for a while': info(
    'gate',
    'See to that host; `why` is what it said, and its log says more.',
  ),
  'an executor does not answer its offers, and gets no more until it does': info(
    'gate',
    'Look at that host: it hangs.',
  ),
  'an executor has run what it will refuse once it enforces': info(
    'gate',
    'Before `enforce` there: its log names what would be refused ([migration](migration.md)).',
  ),
  'an executor vouches for less output than it has sent, as after a power cut: the rest is unconfirmed, and kept apart from the output':
    info('gate'),
  'an execution is LOST': warn(
    'gate',
    'Bring that host back: it then signs how it ended. Where it never comes back: `csc admin resolve`.',
  ),
  'the owners have resolved an execution': info('gate'),
  'the glass was broken: an execution runs without its approvals': warn(
    'gate',
    'Have the owners look at who did (`approver`) and why (`reason`): [approvals](approvals.md).',
  ),
  'forgot what was over': info('gate'),
  'the owners have published something': info('gate'),
  'what the owners have published was not taken': error(
    'gate',
    'Mend what `error` names: what was taken before goes on.',
  ),
  'the policy repository was refreshed with the online key': info('gate'),
  'what the owners have published is well again, and is what counts here': info('gate'),
  'nobody may be keeping the policies fresh: policy_repository has no online_key, though the key lies in keys/ of that folder. Without it somebody runs csc policy publish by a timer, or hosts take nothing more after a day (POLICY_STALE)':
    warn(
      'gate',
      'Give it `online_key`, or run `csc policy publish` by a timer ([who keeps it](policy-repository.md#what-expires-when)).',
    ),
  'nobody signs any more that the policies are the newest: hosts take nothing more once that is older than their max_staleness_sec, a day where they say nothing (POLICY_STALE). Have csc policy publish run by a timer, or give this gate the online_key':
    warn('gate', 'The same, at once: runs stop a day after `signed_at`.'),
  'policy_repository.online_key cannot sign that what is published is the newest: hosts will find it too old':
    error(
      'gate',
      'Give it the key that the root names as online, or have the owners rotate to this one (`csc policy rotate`).',
    ),
  'the policy repository cannot be refreshed with the online key: hosts will refuse it once it is too old':
    error(
      'gate',
      'Mend what `error` names within a day: the key, or the folder, which this user must be able to write.',
    ),
  'the policy repository cannot be taken as it is: what was verified last goes on': error(
    'gate',
    'Bring over what the owners have published, whole (`csc policy status` there says what is).',
  ),
  'THE PUBLISHED POLICY REPOSITORY HAS BEEN CHANGED by somebody who cannot sign it: hosts refuse it': error(
    'gate',
    'Find out who may write there; `csc policy publish`, or a copy of what it has written, mends it.',
  ),
  'what was verified last cannot be read from disk: it is taken anew from the pinned root on, and an older version would not be noticed':
    error(
      'gate',
      'Look at the disk of `data_dir`, and compare the version in `csc status` with the owners’.',
    ),
  'the owners’ log.yaml names another log of receipts': warn(
    'gate',
    'Have the owners publish this gate’s key (`vkey` of its start), or bring back `log/` of its `data_dir`.',
  ),
  'a witness does not cosign the log': warn(
    'gate',
    'Ask whoever runs the `witness`; `why` is what it answers ([the log](transparency-log.md)).',
  ),
  'what witnesses have cosigned is not kept beside the log': warn('gate', 'Look at the disk of `data_dir`.'),
  'a webhook is not taken: it is tried again': warn(
    'gate',
    'See to its `receiver`; what it was to be told is dropped after a quarter of an hour.',
  ),
  'a webhook is taken again': info('gate'),

  // An executor: itself.
  'the executor is up': info('executor'),
  'draining: what runs may end; a second signal ends it': info('executor'),
  'connected to the gate': info('executor'),
  'no connection to the gate; trying again': warn(
    'executor',
    'Where it stays so: `error` says whether the address, the network or a certificate is the matter.',
  ),
  'this host failed to say Hello to its gate': error('executor', report),
  'cleared away what killed executors had left': info('executor'),
  'LOCAL MODE: this executor has no sandbox. Commands run with all rights of its user; only the policy limits them.':
    warn('executor', 'For more than a trial: `execution_mode: hardened`.'),
  'policies come from a plain folder: this host trusts its gate to say who asks and who may use which policy (policy_repository ends that)':
    warn('executor', 'Give it `policy_repository` ([the policy repository](policy-repository.md)).'),
  'private keys lie where jobs can read them, by their modes, path_roots and the policies that are known here':
    warn(
      'executor',
      '`why` names them. Take the keys of owners, CA, gates and clients off this host, or close them to the users of jobs, and keep `path_roots` clear of where csc has its files.',
    ),
  "the clock of this host is ahead of its gate's: beyond 60 s, nothing is placed here before it is set right (timedatectl)":
    warn('executor', 'Set it right; `seconds` says by how much.'),
  "the clock of this host is behind its gate's: beyond 60 s, nothing is placed here before it is set right (timedatectl)":
    warn('executor', 'The same.'),
  'a certificate of this host has ended: nothing runs before it has another': error(
    'executor',
    'As for a certificate that has ended; `why` says which.',
  ),
  'the certificates of this host count again: runs are taken again': info('executor'),
  'THE OWNERS HAVE REVOKED THIS HOST: it starts nothing, whatever its gate says': error(
    'executor',
    'See to the reason in `why`; then set it up under another name, or have the owners take it back (`csc admin restore`).',
  ),
  'the owners no longer revoke this host: runs are taken again': info('executor'),
  'THE OWNERS HAVE FROZEN THE FLEET: nothing starts until csc admin thaw': warn(
    'both',
    '`why` has their reason, and whether what runs is ended. Only they end it.',
  ),
  'the owners have thawed the fleet: runs are taken again': info('both'),
  'the owners have published something new': info('executor'),
  'the policy repository could not be refreshed': warn(
    'executor',
    'Where it stays so for hours: `code` says whether the gate, the owners’ timer (POLICY_STALE) or the pinned root is the matter.',
  ),
  'the policy repository that was kept on disk cannot be used: it is fetched anew from the pinned root on, and what this host had seen no longer protects it from an older version':
    warn('executor', `${disk} Compare the \`version\` that comes next with the owners’.`),

  // An executor: its runs and its disk.
  'an offer was refused': warn(
    'executor',
    'For whoever asked: `code` is one of [errors](errors.md), which say what to do.',
  ),
  'a run that this host will refuse once enforce is no longer warn': warn(
    'executor',
    '`reasons` say what is missing before `enforce` ([migration](migration.md)).',
  ),
  'the gate did not write down what it offered: nothing is done': info('executor'),
  'a command could not be seen to its end': error('executor', report),
  'the proxy of a job failed: what it failed at was ended': error('executor', report),
  'progress could not be journalled': warn('executor', disk),
  'output cannot be written: ending the run': error('executor', disk),
  'output could not be sent; trying again': warn('executor', itself),
  'an output log could not be closed': warn('executor', disk),
  'old output could not all be cleared away': warn('executor', disk),
  'the disk is full: output is cut off for its receipt to have room': error(
    'executor',
    'Make room on the disk of its `state_dir`.',
  ),
  'the disk of state_dir is full or takes no writes: nothing runs before that is mended': error(
    'executor',
    '`why` says which; it goes on by itself then.',
  ),
  'the disk of state_dir has room again: runs are taken again': info('executor'),
  'the journal could not be pruned': warn('executor', disk),

  // An executor: its receipts.
  'the receipt could not be journalled; trying again': error('executor', disk),
  'a refusal could not be signed': error('executor', disk),
  'a signed refusal does not count': warn('executor', report),
  'an execution was cut off by the end of its executor; its receipt says so': warn(
    'executor',
    'Find out why it ended: the lines before, or those of systemd.',
  ),
  'an execution that was cut off could not be given its receipt yet': error(
    'executor',
    `${disk} Its next start tries again.`,
  ),
  'an execution has no receipt before the next start': error('executor', `${disk} Then start it again.`),
  'a receipt that is owed cannot be delivered before the next start': error(
    'executor',
    `${disk} Then start it again.`,
  ),
  'a receipt could not be read from the journal; it is brought with the next connection': error(
    'executor',
    disk,
  ),
  'a delivered execution could not be cleared away yet': warn('executor', itself),
  'a receipt that was signed is damaged on this disk': error(
    'executor',
    `${disk} It is taken from the archive where that has it.`,
  ),
  'its receipt is lost on this disk, and none is signed twice': error(
    'executor',
    'Have the owners end it: `csc admin resolve`.',
  ),
  'the archive of receipts could not be read': warn('executor', disk),
  'output that a receipt vouches for is not on this disk any more': error(
    'executor',
    `${disk} The receipt goes to the gate without it.`,
  ),
  'output that a receipt vouches for cannot be brought to the gate, which gets the receipt without it': error(
    'executor',
    disk,
  ),
  'the journal is older than the receipts beside it: was it restored? It begins a new epoch, and nothing from before counts':
    warn(
      'executor',
      'Submit anew what was under way; restore by `csc restore executor` ([deploy](../deploy/README.md)).',
    ),
  'THE DISK OF THIS HOST IS OLDER THAN WHAT IT HAS SIGNED: was its state directory restored? It begins a new epoch, and nothing that was submitted before counts (csc executor new-epoch does so before the first start)':
    error('executor', 'The same. Where nobody restored it, somebody else has its key: revoke the host.'),
  'this disk is older than what this host has signed, and no new epoch could begin: nothing is taken (csc executor new-epoch)':
    error('executor', 'Mend what `error` names, then `csc executor new-epoch`.'),
  'what the gate says of the chain of receipts does not count': warn(
    'executor',
    'The gate shows what this host has not signed: ask whoever runs it.',
  ),
  'the head of the chain of receipts could not be read; it is said later': error('executor', disk),

  // An executor: the log of receipts, and what the gate does not take.
  'receipts that the gate was brought are not acknowledged by it, though it was there: it cannot write, or they do not verify there, which its log says. This host brings them for ever; csc executor receipts give-up EXECUTION --out FILE takes one back from it':
    error(
      'executor',
      'See what the gate’s log says of them; where it will never take one: `csc executor receipts give-up`.',
    ),
  'which receipts the gate did not take cannot be read': warn('executor', disk),
  'which receipts the gate does not take cannot be written down': warn('executor', disk),
  'receipts that the gate has acknowledged are in no checkpoint of its log after ten minutes in which it was there: it may hide them':
    error(
      'executor',
      'This host has them (`csc executor receipts export`): ask whoever runs the gate, and have its log audited (`csc audit verify`).',
    ),
  'no receipt of this host is missing in the log any more': info('executor'),
  'THE LOG OF RECEIPTS IS FALSE: it is not the one that the owners name (each gate has its own), or contradicts what this host has met of it':
    error(
      'executor',
      'Keep this host’s `state_dir`, which has both; tell the owners: [the log](transparency-log.md).',
    ),
  'receipts could not be looked for in the log': warn('executor', itself),
  'receipts are looked for in the log no longer: they are too many, or too old': warn(
    'executor',
    'Have the log audited: `csc audit verify` with this host’s receipts.',
  ),
  'the gate is of a release that proves nothing to hosts: whether this host’s receipts are in its log is not known before it is brought up to date':
    warn('executor', 'Bring the gate up to date.'),
  'what was found out about the log of receipts cannot be read': warn('executor', disk),
  'what was found out about the log of receipts cannot be written down': warn('executor', disk),

  // A CA, and csc ca renew --follow.
  joined: info('ca'),
  renewed: info('ca'),
  'a join was refused': warn(
    'ca',
    'Where it was one of yours, `why` says what to do; else somebody guesses.',
  ),
  'a renewal was refused': warn('ca', 'The same.'),
  'a connection was not let in': warn(
    'ca',
    'Nothing, unless it is one of yours: `why` says which bound holds.',
  ),
  'the certificate of this CA’s server could not be renewed': error(
    'ca',
    'Mend what `error` names, and start it again within a day.',
  ),
  'renewing the certificate': info('ca'),
} as const satisfies Record<string, LogMessageFacts>;

type Texts = typeof logMessages;

/** What a line of this level may say; a type alone, so that nothing of the table is loaded where a log is written. */
export type LogMessage<Wanted extends Level = Level> = {
  [Text in keyof Texts]: Extract<Wanted, Texts[Text]['levels'][number]> extends never ? never : Text;
}[keyof Texts];
