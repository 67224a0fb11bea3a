/** The reading side of an execution's output log: frames, appended until it has ended. */
export interface OutputLog {
  readonly executionId: string;
  /** Bytes that can be read. */
  readonly length: number;
  /** True once nothing more will be appended. */
  readonly ended: boolean;
  /** Whole frames from `offset`, which must be where a frame begins; about `maxBytes`, at least one frame. */
  read(offset: number, maxBytes: number): Promise<Uint8Array>;
  /** Resolves at the next change of `length` or `ended`. */
  changed(): Promise<void>;
}
