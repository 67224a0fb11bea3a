import { closeSync, constants, openSync } from 'node:fs';
import { descriptorPath, openContent } from '../host/index.ts';

/** Content that many children read: written once, and opened anew for each, as an offset is shared by all who have it. */
export interface SharedContent {
  /** A new descriptor at the start of `content`, a text or always the same Buffer. The caller closes it. */
  open(content: string | Buffer): number;
  close(): void;
}

export function createSharedContent(directory: string): SharedContent {
  const descriptors = new Map<string | Buffer, number>();
  return {
    open(content) {
      const fd = descriptors.get(content) ?? openContent(content, directory);
      descriptors.set(content, fd);
      return openSync(descriptorPath(fd), constants.O_RDONLY);
    },
    close() {
      for (const fd of descriptors.values()) closeSync(fd);
      descriptors.clear();
    },
  };
}
