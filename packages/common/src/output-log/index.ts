export { createOutputCheck, type OutputCheck } from './check.ts';
export { emptyDigest, RunningDigest, type StreamDigest, streamKey, streamOfKey } from './digest.ts';
export {
  checkIntact,
  chunkOf,
  encodeFrame,
  encodeFrameHead,
  type Frame,
  type FrameHead,
  frameTag,
  logPieceBytes,
  maxFrameBytes,
  maxFrameData,
  readFrames,
  wholeFramesEnd,
} from './frame.ts';
