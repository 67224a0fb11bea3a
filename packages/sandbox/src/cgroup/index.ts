export type { RunGroup } from './group.ts';
export type { CgroupMechanism } from './hierarchy.ts';
export { type Cgroups, openCgroups, probeCgroups } from './open-cgroups.ts';
export { findCgroupMechanism, type Reserve, toCommonLimits } from './own.ts';
export { sweepCgroups } from './sweep.ts';
