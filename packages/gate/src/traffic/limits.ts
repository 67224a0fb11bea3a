/** How often, and how many at a time, one identity may call. */
export interface CallRate {
  /** Calls a second, over time. */
  readonly requestsPerSec: number;
  /** Calls at once out of rest. */
  readonly burst: number;
  /** Calls and streams open at a time. */
  readonly concurrentCalls: number;
}

/** What may be on its way to the gate: before it is known who sends it, by address; then by identity. */
export interface TrafficLimits {
  /** Of executors; those of clients stand beside this. */
  readonly executor: CallRate;
  /** Seconds in which a message must be whole, counted from where its call or its first byte came. */
  readonly messageTimeoutSec: number;
  /** Bytes that the messages of one identity may announce before they are whole. */
  readonly bytesInFlight: number;
  /** Bytes held of messages that are not whole yet, of all clients together; and again of all executors. */
  readonly totalBytesInFlight: number;
  readonly connections: {
    /** Of everybody. */
    readonly total: number;
    readonly perAddress: number;
    readonly perIdentity: number;
    /** Those of one address that have not begun a TLS handshake; the oldest makes room. */
    readonly silentPerAddress: number;
    /** TLS handshakes that one address may begin a second; more wait their turn. */
    readonly handshakesPerSec: number;
    /** Seconds from the connection to the end of its TLS handshake, its turn not counted. */
    readonly handshakeTimeoutSec: number;
  };
}
