import { nodeEd25519, signatureLength } from '../crypto/index.ts';
import type { TerminalFrame } from '../messages/index.ts';

/** Bytes in one frame. */
export const maxFrameInput = 4096;
/** Frames, and bytes, that are sent at a time. */
export const maxFramesAtOnce = 64;
export const maxInputAtOnce = 16_384;

/** A frame before it is signed. */
export type UnsignedFrame = Pick<TerminalFrame, 'sequence' | 'kind'>;

/**
 * Which run frames are for, as all who verify them know it without the gate: the nonce of the submission, or, of what
 * nobody has signed, the hash of its contract.
 */
export function terminalRun(nonce: string | undefined, contractSha256: string): string {
  return nonce ?? contractSha256.toLowerCase();
}

/** Signs a frame with the private half of the input key. */
export function signFrame(
  frame: UnsignedFrame,
  run: string,
  sign: (message: Uint8Array) => Uint8Array,
): TerminalFrame {
  return { ...frame, signature: Buffer.from(sign(messageOf(frame, run))) };
}

/** True where whoever holds the private half of the input key has typed this, there, in this run. */
export function verifyFrame(frame: TerminalFrame, run: string, inputKey: Uint8Array): boolean {
  if (frame.signature.length !== signatureLength) return false;
  return nodeEd25519.verify(messageOf(frame, run), frame.signature, inputKey);
}

/** What a frame types; undefined where it types nothing. */
export function inputOf({ kind }: Pick<TerminalFrame, 'kind'>): Uint8Array | undefined {
  return kind?.$case === 'input' ? kind.value : undefined;
}

const domain = 'csc.terminal-input.v0.1';

// Begins unlike all else that is signed. Run and number have no line ends, so that no two frames have one message.
function messageOf({ sequence, kind }: UnsignedFrame, run: string): Buffer {
  const head = (name: string): Buffer => Buffer.from([domain, run, sequence, name, ''].join('\n'));
  if (kind?.$case === 'input') return Buffer.concat([head('input'), kind.value]);
  if (kind?.$case === 'resize') {
    const { columns, rows } = kind.value;
    return Buffer.concat([head('resize'), Buffer.from(`${columns}x${rows}`)]);
  }
  return head('');
}
