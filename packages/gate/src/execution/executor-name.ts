/**
 * What an executor calls itself, and is called in tickets, receipts, events and answers: the NAME of its SPIFFE id. The
 * store has the whole id, as two trust domains may have a host of one name each. Empty for null: not placed.
 */
export function executorName(uri: string | null): string {
  return uri === null ? '' : uri.slice(uri.lastIndexOf('/') + 1);
}
