import manifest from '../../package.json' with { type: 'json' };

/** What Hello says of this executor. */
export const executorVersion: string = manifest.version;

/** What receipts say of it. */
export const runnerVersion = `csc-fleet/${executorVersion}`;
