export { type SealedStream, sealAlgorithm } from './format.ts';
export { idOfSealKey, isSealPublicKey, makeSealKey, parseSealKey, type SealKey } from './key.ts';
export { createOpener, looksSealed, type Opener, type SealKeys } from './opener.ts';
export { createSealer, type Sealer } from './sealer.ts';
