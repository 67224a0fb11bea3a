/**
 * A copy (of text: as UTF-8) in memory of its own. Buffer.from gives out pieces of a pool that all of the process gets
 * pieces of, so that whatever holds one of them holds the neighbours too.
 */
export function ownBuffer(content: Buffer | string): Buffer {
  const copy = Buffer.alloc(Buffer.byteLength(content));
  if (typeof content === 'string') copy.write(content);
  else content.copy(copy);
  return copy;
}
