export { ownerPattern, parseOwner, toOwnerId } from './owner-id.ts';
export { identify, isAlive, type ProcessId, type ProcessStat, parseStat, readStat } from './process-id.ts';
export {
  clearAbandoned,
  defaultScratchDirectory,
  listAbandoned,
  makeScratch,
  scratchDirectories,
  toScratchPath,
} from './scratch.ts';
