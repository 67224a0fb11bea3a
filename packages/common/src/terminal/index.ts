export {
  AsciicastWriter,
  type CastEvent,
  type CastHeader,
  cutRecording,
  parseCastEvent,
  parseCastHeader,
} from './asciicast.ts';
export {
  inputOf,
  maxFrameInput,
  maxFramesAtOnce,
  maxInputAtOnce,
  signFrame,
  terminalRun,
  verifyFrame,
} from './frame.ts';
export { recordingBytes } from './recording.ts';
