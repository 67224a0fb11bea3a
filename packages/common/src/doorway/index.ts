export { addressKey, type ConnectionLimits, Doorway } from './doorway.ts';
export { TokenBucket } from './token-bucket.ts';
