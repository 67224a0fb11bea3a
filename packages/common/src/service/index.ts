export { GroupCommit } from './group-commit.ts';
export {
  installLastHandler,
  isTooMany,
  isUnsound,
  type LastHandlerOptions,
  mostUncaught,
  unsoundExitCode,
} from './last-handler.ts';
export { type Log, type LogLevel, silentLog, sparingLog } from './log.ts';
export { asOwner, type Owner } from './owner.ts';
export { needRestart, type ReloadLog, reloadOnHangUp } from './reload.ts';
export { firstToRing, Signal } from './signal.ts';
