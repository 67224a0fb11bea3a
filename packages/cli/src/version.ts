import packageJson from '../package.json' with { type: 'json' };

/** The version of csc, as its package has it. */
export const version: string = packageJson.version;
