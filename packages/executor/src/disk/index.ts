export { DiskReserve, leastRoom } from './reserve.ts';
export { openWith, withReserve } from './with-reserve.ts';
