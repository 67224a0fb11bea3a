/** When and by which root one version of the owners' files was signed. */
export interface SignedVersion {
  readonly version: number;
  /** The newest root whose keys have signed it. */
  readonly root: number;
  /** Not held against any time where it is evidence: an old version is evidence of its own. */
  readonly expires: string;
  /** When they say that they signed it. Absent: they do not say. */
  readonly signedAt?: string;
}
