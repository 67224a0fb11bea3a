export { readPolicies, readPolicyDirectory } from './directory.ts';
export { type Sample, samplesSchema } from './sample-schema.ts';
export { checkSamples, parseSamples } from './samples.ts';
