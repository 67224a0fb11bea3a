export { readPolicies, readPolicyDirectory } from './directory.ts';
export { type Sample, samplesSchema } from './sample-schema.ts';
export { judgeSamples, parseSamples } from './samples.ts';
