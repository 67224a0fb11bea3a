export { argvSchema, commandSchema, effectTypes, networkModes } from './command.ts';
export {
  type Actor,
  type ApprovalMode,
  argvSha256,
  argvs,
  type CanonicalContract,
  type Command,
  type CommandContract,
  canonicalContract,
  contractFromJson,
  contractSha256,
  type EffectType,
  type NetworkMode,
  parseContract,
  type RiskClass,
  readContract,
} from './contract.ts';
export { contractFromProto } from './from-proto.ts';
export { approvalModes, contractSchema, riskClasses } from './schema.ts';
