export {
  type GrantedLimits,
  grantedLimitsSchema,
  type LimitName,
  type Limits,
  limitNames,
  limitsSchema,
  narrowLimits,
} from './limits.ts';
