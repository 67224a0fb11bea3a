export interface ReadOptions {
  /** Gives up on the secret: the read then throws CANCELLED. */
  readonly signal?: AbortSignal;
}

/** Where a host's secrets come from. */
export interface SecretProvider {
  /**
   * The value of a secret, in a buffer of its own that the caller may overwrite; at most `maxSecretBytes`, perhaps
   * empty. Nothing is kept: each read asks again, so that a rotated secret counts at once.
   *
   * Throws CONTRACT_INVALID for what is no name of a secret, CANCELLED, and SANDBOX_UNAVAILABLE with what to do for all
   * else, a secret that this host does not have included: another host may have it. (HOST_CEILING_EXCEEDED is for
   * secrets that this host has been told not to give, which is not for a provider to say.) No error holds a value.
   */
  read(name: string, options?: ReadOptions): Promise<Buffer>;
  close?(): void;
}

/** In bytes: ample for keys and certificate chains, and little enough to search all output for. */
export const maxSecretBytes = 64 * 1024;
