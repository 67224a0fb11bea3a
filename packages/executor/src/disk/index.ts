export { DiskReserve } from './reserve.ts';
export { openWith, withReserve } from './with-reserve.ts';
