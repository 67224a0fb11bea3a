import type { Gate } from '../service/compose.ts';
import { checkBounds } from './check-bounds.ts';
import { requestBounds } from './requests.ts';

/** A gate that looks at no request before each of its members is within its bounds: REQUEST_INVALID where one is not. */
export function boundedGate(gate: Gate): Gate {
  return {
    ...gate,
    submit: async (principal, request) => gate.submit(principal, within('submit', request)),
    run: async (principal, request, write, abort) =>
      gate.run(principal, within('submit', request), write, abort),
    check: (principal, request) => gate.check(principal, within('check', request)),
    watch: async function* (principal, request, abort) {
      yield* gate.watch(principal, within('watch', request), abort);
    },
    readOutput: async (principal, request, write, abort) =>
      gate.readOutput(principal, within('readOutput', request), write, abort),
    cancel: async (principal, request) => gate.cancel(principal, within('cancel', request)),
    getExecution: async (principal, request) => gate.getExecution(principal, within('getExecution', request)),
    listExecutions: async (principal, request) =>
      gate.listExecutions(principal, within('listExecutions', request)),
    getReceipt: async (principal, request) => gate.getReceipt(principal, within('getReceipt', request)),
    getKeys: async (request) => gate.getKeys(within('getKeys', request)),
  };
}

function within<Request>(method: keyof typeof requestBounds, request: Request): Request {
  checkBounds(requestBounds[method], request);
  return request;
}
