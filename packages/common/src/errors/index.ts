export {
  type CodeFacts,
  type CscErrorCode,
  isRpcReason,
  type LocalCode,
  localCodes,
  logCodes,
  meaningOf,
  type Refusal,
  readRefusal,
  retryOf,
  rpcStatusOf,
} from './codes.ts';
export { CscError, type CscErrorOptions, isCscError, orThrow } from './csc-error.ts';
export { exitCodes } from './exit-codes.ts';
export { type Fault, faulty, formatFaults, memberPath, type Parsed, parsed, quoteBriefly } from './fault.ts';
export { guarded } from './guarded.ts';
export { escapeInvisible, showBeyondAscii, showInvisible, showUnclear } from './invisible.ts';
export { openings } from './openings.ts';
export { type ReasonFacts, type RpcReason, type RpcStatusName, reasons, rpcStatusNames } from './reasons.ts';
export { withoutSecrets } from './without-secrets.ts';
export { zodFaults } from './zod-faults.ts';
