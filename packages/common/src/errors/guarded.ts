/**
 * The error boundary of a handler: what it throws, or rejects with, goes to `failed` and nowhere else. Every handler of
 * what somebody else decides (bytes, messages, events) has it, for an exception that leaves an event handler ends the
 * process, and with it everybody else's work.
 * @param failed ends what the input belongs to: its connection, its run. What it throws itself is dropped
 */
export function guarded<Given extends readonly unknown[]>(
  handler: (...given: Given) => unknown,
  failed: (error: unknown) => void,
): (...given: Given) => void {
  const fail = (error: unknown): void => {
    try {
      failed(error);
    } catch {
      // Whoever handles a fault has no second one to hand it to.
    }
  };
  return (...given) => {
    try {
      const result = handler(...given);
      if (result instanceof Promise) result.catch(fail);
    } catch (error) {
      fail(error);
    }
  };
}
