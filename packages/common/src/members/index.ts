export { declaredPath, policyPrefix, reportedPath } from './absolute-path.ts';
export { sha256Member, taggedSha256Member } from './hash.ts';
export { count, integer, oneOf } from './number.ts';
export { signatureMember } from './signature.ts';
export { boundedText, name, nonEmptyText } from './text.ts';
export { timestamp } from './timestamp.ts';
export { uniqueList } from './unique-list.ts';
export { parseArtifact, validate } from './validate.ts';
export { unsupportedVersion, versionMember } from './version.ts';
