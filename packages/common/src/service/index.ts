export { keepServiceRecord, readServiceRecord, type ServiceRecord } from './control-file.ts';
export {
  endUnsound,
  installLastHandler,
  isTooMany,
  isUnsound,
  type LastHandlerOptions,
  mostUncaught,
  unsoundExitCode,
} from './last-handler.ts';
export { type Log, type LogLevel, logOfRun, silentLog, sparingLog } from './log.ts';
export { type LogField, type LogFields, logFields, toWrittenName } from './log-fields.ts';
export type { LogMessage } from './log-messages.ts';
export { asOwner, type Owner } from './owner.ts';
export { isAlive, processIdentity } from './process-identity.ts';
export { needRestart } from './reload.ts';
export { firstToRing, Signal } from './signal.ts';
export { createUpkeep, type ReloadOutcome, type Renewable, type Upkeep } from './upkeep.ts';
