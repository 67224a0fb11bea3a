export {
  type AddCheckpoint,
  formatAddCheckpoint,
  maxAddCheckpointBytes,
  parseAddCheckpoint,
} from './add-checkpoint.ts';
export {
  type Checkpoint,
  type CosignedIn,
  checkpointText,
  cosignatureToleranceMs,
  cosignedAt,
  cosignedLately,
  cosignedSince,
  type LogTrust,
  maxCosignatureAgeMs,
  type OpenedCheckpoint,
  openCheckpoint,
  parseCheckpoint,
  parseCheckpointText,
  signCheckpoint,
  toLogTrust,
} from './checkpoint.ts';
export { CoveredTimes } from './covered.ts';
export { type FilledTile, TreeEdge } from './edge.ts';
export { formatEntry, type LogEntry, logEntrySchema, maxLogEntryBytes, parseEntry } from './entry.ts';
export {
  cosignText,
  formatNote,
  formatSignatureLine,
  formatVkey,
  isKeyName,
  keyIdOf,
  maxNoteBytes,
  type Note,
  type NoteKey,
  type NoteSignature,
  type NoteVoucher,
  parseNote,
  parseSignatureLine,
  parseVkey,
  signText,
  vouchersOf,
} from './note.ts';
export {
  formatBundle,
  nodesOf,
  parseBundle,
  parseTilePath,
  type Tile,
  type TileReader,
  tilePath,
  tileWidth,
  widthIn,
} from './tile.ts';
export {
  emptyRoot,
  hashLength,
  isSame,
  leafHash,
  maxProofHashes,
  type NodeReader,
  nodeHash,
  proveConsistency,
  proveInclusion,
  rootOf,
  type TreeHead,
  verifyConsistency,
  verifyInclusion,
} from './tree.ts';
export { ageUnlogged, loggedWithinMs } from './unlogged.ts';
