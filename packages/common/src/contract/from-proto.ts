import type { JsonObject } from '../encoding/index.ts';
import type { Actor, Command, CommandContract } from '../gen/csc/common/v1/contract.ts';

/** The JSON form of the typed message, unvalidated: what the message leaves out is left out, and judged as absent. */
export function contractFromProto(message: CommandContract): JsonObject {
  return {
    version: message.version,
    contract_id: message.contractId,
    intent: message.intent,
    ...(message.actor === undefined ? {} : { actor: actorFromProto(message.actor) }),
    commands: message.commands.map(commandFromProto),
    risk_class: message.riskClass,
    approval_mode: message.approvalMode,
    expected_outputs: [...message.expectedOutputs],
    justification: message.justification,
  };
}

function actorFromProto(actor: Actor): JsonObject {
  return {
    agent_id: actor.agentId,
    session_id: actor.sessionId,
    initiating_user: actor.initiatingUser,
    delegation_scope: actor.delegationScope,
  };
}

function commandFromProto(command: Command): JsonObject {
  return {
    id: command.id,
    ...formFromProto(command.form),
    cwd: command.cwd,
    read_paths: [...command.readPaths],
    write_paths: [...command.writePaths],
    network: command.network,
    env_allow: [...command.envAllow],
    secret_refs: [...command.secretRefs],
    timeout_sec: command.timeoutSec,
    proposed_effect_type: command.proposedEffectType,
  };
}

function formFromProto(form: Command['form']): JsonObject {
  if (form?.$case === 'exec') return { exec: { argv: [...form.value.argv] } };
  if (form?.$case !== 'pipeline') return {};
  return { pipeline: { segments: form.value.segments.map(({ argv }) => ({ argv: [...argv] })) } };
}
