/** The version of this project's packages, which have one for all; a test holds it against their package.json. */
export const version = '0.1.0';

/** As receipts, Hello and health pages name this software. */
export const softwareVersion = `csc-fleet/${version}`;
