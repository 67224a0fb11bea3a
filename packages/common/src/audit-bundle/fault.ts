/** The files of a bundle, by their paths in it. */
export type BundleFiles = ReadonlyMap<string, Uint8Array>;

/** Something that is not as it should be, in words. */
export interface BundleFault {
  /**
   * `manifest`, `file` (changed, missing, not listed), `signature`, `certificate`, `gap`, `fork`, `link`, `unnumbered`;
   * `place`: the receipt of another place; `missing` and `differs`: of what the audit or the log names; `log`: the log
   * of receipts, or a receipt that is not in it; `ahead`: one that is not in it and is dated ahead of when the bundle
   * was made; `left_out`: what the gate did not give when the bundle was made; `policy`: a text that is not the one of
   * its hash, or one that the owners have not signed; `approval`: one that is not what its receipt says of it, or by a
   * key that was revoked before; `owners`: files of theirs that cannot be read, are missing, or are not theirs;
   * `identity`: a token of an issuer whom they do not name.
   */
  readonly kind: string;
  readonly message: string;
  /** The file that it is about. */
  readonly file?: string;
}
