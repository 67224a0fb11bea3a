import packageJson from '../../package.json' with { type: 'json' };

/** As receipts and health pages name this software. */
export const softwareVersion = `csc-fleet/${packageJson.version}`;
