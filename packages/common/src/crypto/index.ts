export { type ArmoredSignature, parseArmoredSignature, sshFingerprint } from './armored-sshsig.ts';
export { parseBase64, toBase64 } from './base64.ts';
export { BoundedCache } from './bounded-cache.ts';
export { type Ed25519, keyLength, signatureLength } from './ed25519.ts';
export {
  makeKeyFile,
  readKeyRing,
  readOwnSigner,
  readPrivateKey,
  readPublicKey,
  readSigner,
} from './key-files.ts';
export {
  defaultKeyId,
  generateKeyPair,
  type KeyPair,
  parsePrivateKey,
  parsePublicKey,
} from './key-format.ts';
export {
  createCertifiedRing,
  createKeyRing,
  createReloadableKeyRing,
  type KeyEntry,
  type KeyRing,
  type ReloadableKeyRing,
} from './key-ring.ts';
export { keyList, parseKeyRing, toKeyRingJson } from './key-ring-file.ts';
export { createNodeEd25519, nodeEd25519, toPrivatePem } from './node-ed25519.ts';
export {
  type AskedSignature,
  findSignatureFault,
  type PersonAlgorithm,
  type PersonSigner,
  personAlgorithms,
  toBeSigned,
} from './person-signature.ts';
export { createReloadableSigner, createSigner, type ReloadableSigner, type Signer } from './signer.ts';
export {
  type PersonKeyKind,
  type PersonPublicKey,
  parseSshPublicKey,
  readSshPublicKey,
  readSshStrings,
  sshString,
  sshsigMessage,
} from './sshsig.ts';
