export {
  listProfiles,
  type ProfileTest,
  readPolicies,
  readPolicyDirectory,
  testPolicyDirectory,
} from './directory.ts';
export { type Sample, samplesSchema } from './sample-schema.ts';
export { judgeSamples, parseSamples, type SampleResult } from './samples.ts';
