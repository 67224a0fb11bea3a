import type { Readable } from 'node:stream';
import type { JobUser } from '../host/index.ts';
import type { FindProgram, ResolvedScopes, SandboxPlan } from '../plan/index.ts';

/** Starts the processes of one command. Implementations: bwrap (Linux), local (no sandbox). */
export interface Launcher {
  /** Never throws for what the command or its sandbox do wrong: that is the outcome. */
  launch(spec: LaunchSpec): LaunchedProcess;
  /** Gives back what the launcher keeps ready. Running commands are not touched. */
  close(): void;
}

export interface LaunchSpec {
  /** One segment is an exec, two to ten are a pipeline from left to right. */
  readonly segments: readonly Segment[];
  readonly place: SandboxPlace | LocalPlace;
  /** On which its one segment runs, in a sandbox. Absent: it has none, and no standard input. */
  readonly terminal?: TerminalEnds;
  /**
   * Descriptors of this process that each segment in a sandbox gets beside its three, by their number there, which is
   * beyond those that its plan needs. They stay open here, for as long as the caller likes once `exited` or `ready` is true.
   */
  readonly passed?: ReadonlyMap<number, number>;
  /** True: everything is built, but the command starts only after `release()`. */
  readonly hold: boolean;
}

/** The terminal of a command, as its launcher has it: its owner opens it, and closes it in the end. */
export interface TerminalEnds {
  /** What becomes standard input, output and error of the command. Closed by the launcher once it has been passed on. */
  takeSlave(): number;
  /** What the terminal shows. */
  readonly output: Readable;
  /** No process of the command is left: what it has shown is read to its end, and no more waited for. */
  hangUp(): void;
}

export interface Segment {
  readonly argv: readonly string[];
}

/** Inside a sandbox: what `planSandbox` made of `scopes`, which stay open until the process has exited. */
export interface SandboxPlace {
  readonly kind: 'sandbox';
  readonly plan: SandboxPlan;
  readonly scopes: ResolvedScopes;
  /** The host user that the plan is for. */
  readonly user: JobUser;
  /** Of this plan, where somebody has looked just now. Absent: what is launched is looked for first. */
  readonly findProgram?: FindProgram;
  /** Values of the plan's secrets, by the names of their descriptors. */
  readonly secrets?: ReadonlyMap<string, Buffer>;
}

/** On the host itself. */
export interface LocalPlace {
  readonly kind: 'local';
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Of the files that it makes (umask(2)). */
  readonly umask: number;
}

/** Raw chunks (Buffer) of at most 256 KiB, read only as fast as they are taken. */
export interface OutputReadable extends Readable {
  /**
   * Lets a chunk's memory be used for a later one: its bytes change then. At most once for a chunk, or never: the
   * garbage collector gets it in the end, when tens of megabytes have gathered.
   */
  recycle(chunk: Buffer): void;
}

export interface LaunchedProcess {
  /** The last segment's standard output. Must be read to its end. */
  readonly stdout: OutputReadable;
  /** The standard error of all segments. Must be read to its end. */
  readonly stderr: OutputReadable;
  /** What its terminal shows, where it has one: then the other two say nothing. Must be read to its end. */
  readonly terminal?: OutputReadable;
  /** Lets a held command start. Does nothing the second time, or after `terminate`. */
  release(): void;
  /**
   * True once the sandboxes are there, with the command held or not, or at once where there are none; false where they
   * never will be, for want of something of the host's. Never rejects.
   */
  readonly ready: Promise<boolean>;
  /** True once the command was let go, false once it never will be. Never rejects. */
  readonly started: Promise<boolean>;
  /**
   * The sandboxes' own processes, one a segment, by their pids on the host: while the command is held, their network
   * namespaces are there to be listened in. Empty where there are none, or not all of them any more. Never rejects.
   */
  readonly inits: Promise<readonly number[]>;
  /** Its processes as they are now, by their pids on the host; none where nobody keeps count. */
  processes(): readonly number[];
  /** Resolves when no process of the command is left, and nothing that was made for it. Never rejects. */
  readonly exited: Promise<LaunchOutcome>;
  /**
   * SIGTERM to the command's own process, then, `graceMs` later, SIGKILL to all that is left of it. A command that is
   * still held is killed at once. A further call can only bring the end nearer.
   */
  terminate(graceMs: number): void;
}

export type LaunchOutcome =
  /** It ran. One entry a segment. */
  | {
      readonly kind: 'exited';
      readonly segments: readonly SegmentExit[];
      /** How many of its processes the kernel killed for want of memory; absent: none, or nobody counts. */
      readonly oomKills?: number;
    }
  /** It could not be run: 127 not found, 126 found but not runnable, or its cwd is not usable. */
  | { readonly kind: 'not_started'; readonly code: 126 | 127; readonly message: string }
  /** `terminate` came before `release`. */
  | { readonly kind: 'withdrawn' }
  /** The sandbox itself failed. Nothing of the command ran. */
  /** With what the system said, where that is what kept it from starting. */
  | { readonly kind: 'infrastructure'; readonly message: string; readonly cause?: unknown };

export interface SegmentExit {
  /** 128 + n where a signal ended it. */
  readonly exitCode: number;
  /** For example "SIGKILL". In a sandbox, an exit code of 128 + n is read as that signal. */
  readonly signal?: string;
}

/** The one result of a pipeline: its first segment that failed, else the last one. */
export function pipelineExit(segments: readonly SegmentExit[]): SegmentExit {
  return segments.find((segment) => segment.exitCode !== 0) ?? segments.at(-1) ?? { exitCode: 0 };
}
