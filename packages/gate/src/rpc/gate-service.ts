import type { WatchResponse } from '@csc-fleet/common/messages';
import {
  type CancelRequest,
  type CheckRequest,
  GateService,
  type GetExecutionRequest,
  type GetKeysRequest,
  type GetReceiptRequest,
  type ListExecutionsRequest,
  type ReadOutputRequest,
  type RunRequest,
  SubmitRequest,
  type SubmitRequest as SubmitRequestType,
  type WatchRequest,
} from '@csc-fleet/common/rpc';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { Gate } from '../service/compose.ts';
import { type CallRules, streaming, type Undecoded, unary } from './calls.ts';

// Output is relayed as it lies on disk: it is encoded already.
const encoded = (message: Uint8Array): Buffer =>
  Buffer.from(message.buffer, message.byteOffset, message.byteLength);

/** csc.gate.v1.Gate, with requests that are not decoded, and responses of Run and ReadOutput that are given as bytes. */
export const gateService: ServiceDefinition = Object.fromEntries(
  Object.entries({
    ...GateService,
    run: { ...GateService.run, responseSerialize: encoded },
    readOutput: { ...GateService.readOutput, responseSerialize: encoded },
  }).map(([name, method]) => [name, { ...method, requestDeserialize: leave(method.requestDeserialize) }]),
);

function leave(decode: (bytes: Buffer) => unknown): (bytes: Buffer) => Undecoded<unknown> {
  return (bytes) => ({ bytes, decode });
}

/** The methods of csc.gate.v1.Gate for a gate. */
export function gateMethods(gate: Gate, rules: CallRules): UntypedServiceImplementation {
  return {
    submit: unary(rules, (principal, request: SubmitRequestType) => gate.submit(principal, request)),
    check: unary(rules, (principal, request: CheckRequest) => gate.check(principal, request)),
    cancel: unary(rules, (principal, request: CancelRequest) => gate.cancel(principal, request)),
    getExecution: unary(rules, (principal, request: GetExecutionRequest) =>
      gate.getExecution(principal, request),
    ),
    listExecutions: unary(rules, (principal, request: ListExecutionsRequest) =>
      gate.listExecutions(principal, request),
    ),
    getReceipt: unary(rules, (principal, request: GetReceiptRequest) => gate.getReceipt(principal, request)),
    getKeys: unary(rules, (_principal, request: GetKeysRequest) => gate.getKeys(request)),
    run: streaming<RunRequest, Uint8Array>(rules, (principal, request, write, gone) =>
      gate.run(principal, request.submit ?? SubmitRequest.fromPartial({}), write, gone),
    ),
    readOutput: streaming<ReadOutputRequest, Uint8Array>(rules, (principal, request, write, gone) =>
      gate.readOutput(principal, request, write, gone),
    ),
    watch: streaming<WatchRequest, WatchResponse>(rules, async (principal, request, write, gone) => {
      for await (const event of gate.watch(principal, request, gone)) await write({ event });
    }),
  };
}
