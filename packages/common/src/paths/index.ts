export {
  coveredBy,
  hasParentSegment,
  isCoveredBy,
  type ParsedPath,
  type PathFlavour,
  parsePath,
} from './path.ts';
