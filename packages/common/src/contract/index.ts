export { argvSchema, commandSchema, effectTypes, networkModes } from './command.ts';
export {
  type Actor,
  type ApprovalMode,
  argvSha256,
  argvs,
  type Command,
  type CommandContract,
  contractFromJson,
  contractSha256,
  type EffectType,
  type NetworkMode,
  parseContract,
  type RiskClass,
} from './contract.ts';
export { contractFromProto } from './from-proto.ts';
export { approvalModes, contractSchema, riskClasses } from './schema.ts';
