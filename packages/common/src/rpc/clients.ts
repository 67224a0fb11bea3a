import { makeGenericClientConstructor } from '@grpc/grpc-js';
import type { ApprovalsClient as Approvals } from '../gen/csc/gate/v1/approvals.ts';
import type { FleetClient as Fleet, GateClient as Gate } from '../gen/csc/gate/v1/gate.ts';
import { ApprovalsService, FleetService, GateService } from './services.ts';

type Arguments = ConstructorParameters<ReturnType<typeof makeGenericClientConstructor>>;

/** A client of csc.gate.v1.Gate. */
export const GateClient = makeGenericClientConstructor(GateService, 'csc.gate.v1.Gate') as unknown as new (
  ...args: Arguments
) => Gate;
export type GateClient = Gate;

/** A client of csc.gate.v1.Fleet. */
export const FleetClient = makeGenericClientConstructor(FleetService, 'csc.gate.v1.Fleet') as unknown as new (
  ...args: Arguments
) => Fleet;
export type FleetClient = Fleet;

/** A client of csc.gate.v1.Approvals. */
export const ApprovalsClient = makeGenericClientConstructor(
  ApprovalsService,
  'csc.gate.v1.Approvals',
) as unknown as new (
  ...args: Arguments
) => Approvals;
export type ApprovalsClient = Approvals;
