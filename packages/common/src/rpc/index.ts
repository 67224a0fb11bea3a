export type { ChannelCredentials, ServerCredentials, ServiceError } from '@grpc/grpc-js';
export {
  type Identity,
  identityOfCertificate,
  parseIdentity,
  type Role,
  readOwnIdentity,
  toIdentityUri,
} from '../identity/index.ts';
export { toDuration, toMilliseconds } from '../messages/duration.ts';
export { readCaChannelCredentials, readChannelCredentials } from './channel-credentials.ts';
export { encoderOf } from './encoder.ts';
export { fromServiceError } from './from-service-error.ts';
export * from './generated.ts';
export { channelOptions, maxMessageBytes, serverOptions, streamWindow } from './options.ts';
export {
  certificateEndOf,
  certificateOfCall,
  identityOfCall,
  identityOfSession,
  labelsOfCall,
  presentedKeyOf,
  presentedKeyOfSession,
  validityOfCall,
} from './peer-identity.ts';
export { channelTo, type GateChannel } from './proxy.ts';
export {
  createJoinServerCredentials,
  type RotatingServerCredentials,
  readServerCredentials,
} from './server-credentials.ts';
export { type ErrorLog, toServiceError, toTrailersOnly } from './service-error.ts';
export {
  messagePrefixBytes,
  pingPeer,
  type ServerCallLike,
  type Wire,
  widenReceiveWindow,
  wireOfClientCall,
  wireOfServerCall,
  writeMessagePrefix,
} from './session.ts';
export {
  readTlsMaterial,
  type TlsFiles,
  type TlsMaterial,
  type TlsPaths,
  TlsSource,
} from './tls-files.ts';
export { checkPurpose, explainDrop, isDropped } from './unaccepted.ts';
