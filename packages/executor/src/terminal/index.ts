export { type InputRules, inputBounds, type Taken, TerminalInput } from './input.ts';
export { type OpenTerminal, type OpenTerminals, openTerminal, type Size } from './open-terminal.ts';
export { Recorder } from './recorder.ts';
