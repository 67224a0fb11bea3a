/**
 * The registry of reason codes (protocol §3), closed and stable for ever, in registry order: the denials in the
 * order in which they are looked for, then the codes of the other verdicts, and what the owners' freeze or revocation
 * comes to: no evaluation of a policy gives that.
 */
export const reasonCodes = [
  'RISK_CLASS_NOT_ALLOWED',
  'COMMAND_NOT_ALLOWED',
  'ARGV_PREFIX_DENIED',
  'EFFECT_TYPE_NOT_ALLOWED',
  'TIMEOUT_EXCEEDS_POLICY',
  'NETWORK_EXCEEDS_POLICY',
  'SECRET_REF_NOT_ALLOWED',
  'CWD_NOT_ALLOWED',
  'READ_SCOPE_DENIED',
  'WRITE_PATHS_NOT_EMPTY',
  'WRITE_SCOPE_DENIED',
  'PATH_NOT_ABSOLUTE',
  'TERMINAL_NOT_ALLOWED',
  'APPROVAL_REQUIRED',
  'ALLOW',
  'EFFECT_RECLASSIFIED',
  'EMERGENCY_DENY_ALL',
] as const;

export type ReasonCode = (typeof reasonCodes)[number];

/** What a policy says of a contract. */
export const verdicts = ['allow', 'deny', 'needs_approval'] as const;

export type Verdict = (typeof verdicts)[number];
