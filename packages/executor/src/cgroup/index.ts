export type { RunGroup } from './group.ts';
export {
  type Cgroups,
  findCgroupMechanism,
  openCgroups,
  probeCgroups,
  type Reserve,
  toCommonLimits,
} from './open-cgroups.ts';
export type { GroupLimits } from './settings.ts';
export { sweepCgroups } from './sweep.ts';
