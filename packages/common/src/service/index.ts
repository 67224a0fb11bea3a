export {
  installLastHandler,
  isTooMany,
  isUnsound,
  type LastHandlerOptions,
  mostUncaught,
  unsoundExitCode,
} from './last-handler.ts';
export { type Log, silentLog } from './log.ts';
export { asOwner, type Owner } from './owner.ts';
export { needRestart, type ReloadLog, reloadOnHangUp } from './reload.ts';
export { firstToRing, Signal } from './signal.ts';
