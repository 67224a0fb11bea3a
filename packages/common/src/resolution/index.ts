export { parseResolution, type Resolution, type ResolutionSubject, resolutionSchema } from './resolution.ts';
