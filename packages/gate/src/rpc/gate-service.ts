import { toBuffer } from '@csc-fleet/common/encoding';
import { ApprovalsService, CheckResponse, encoderOf, FleetService, GateService } from '@csc-fleet/common/rpc';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { type OneRequestRules, streaming, unary, undecoded } from './calls.ts';
import type { ApprovalMethods, FleetMethods, GateMethods } from './methods.ts';

/**
 * csc.gate.v1.Gate, with requests that are not decoded, and responses of Run and ReadOutput that are given as bytes: output is
 * relayed as it lies on disk, which is encoded already.
 */
export const gateService: ServiceDefinition = undecoded({
  ...GateService,
  check: { ...GateService.check, responseSerialize: encoderOf(CheckResponse) },
  run: { ...GateService.run, responseSerialize: toBuffer },
  readOutput: { ...GateService.readOutput, responseSerialize: toBuffer },
});

/** The methods of csc.gate.v1.Gate as gRPC calls them. */
export function serveGate(methods: GateMethods, rules: OneRequestRules): UntypedServiceImplementation {
  return {
    submit: unary(rules, GateService.submit, methods.submit),
    bind: unary(rules, GateService.bind, methods.bind),
    check: unary(rules, GateService.check, methods.check),
    cancel: unary(rules, GateService.cancel, methods.cancel),
    sendInput: unary(rules, GateService.sendInput, methods.sendInput),
    getExecution: unary(rules, GateService.getExecution, methods.getExecution),
    listExecutions: unary(rules, GateService.listExecutions, methods.listExecutions),
    getReceipt: unary(rules, GateService.getReceipt, methods.getReceipt),
    getKeys: unary(rules, GateService.getKeys, methods.getKeys),
    run: streaming(rules, GateService.run, methods.run, 'at once'),
    readOutput: streaming(rules, GateService.readOutput, methods.readOutput, 'quietly'),
    watch: streaming(rules, GateService.watch, methods.watch, 'quietly'),
    listProfiles: unary(rules, GateService.listProfiles, methods.listProfiles),
    getStatus: unary(rules, GateService.getStatus, methods.getStatus),
    proveReceipts: unary(rules, GateService.proveReceipts, methods.proveReceipts),
  };
}

/** csc.gate.v1.Fleet, likewise. */
export const fleetService: ServiceDefinition = undecoded(FleetService);

/** The methods of csc.gate.v1.Fleet as gRPC calls them. */
export function serveFleet(methods: FleetMethods, rules: OneRequestRules): UntypedServiceImplementation {
  return {
    listExecutors: unary(rules, FleetService.listExecutors, methods.listExecutors),
    prune: unary(rules, FleetService.prune, methods.prune),
    audit: streaming(rules, FleetService.audit, methods.audit, 'quietly'),
    resolve: unary(rules, FleetService.resolve, methods.resolve),
    readLogTile: unary(rules, FleetService.readLogTile, methods.readLogTile),
  };
}

/** csc.gate.v1.Approvals, likewise. */
export const approvalsService: ServiceDefinition = undecoded(ApprovalsService);

/** The methods of csc.gate.v1.Approvals as gRPC calls them. */
export function serveApprovals(
  methods: ApprovalMethods,
  rules: OneRequestRules,
): UntypedServiceImplementation {
  return {
    list: unary(rules, ApprovalsService.list, methods.list),
    watch: streaming(rules, ApprovalsService.watch, methods.watch, 'quietly'),
    get: unary(rules, ApprovalsService.get, methods.get),
    review: unary(rules, ApprovalsService.review, methods.review),
  };
}
