export { type AllowList, createAllowList, type EgressEntry, parseEgressEntry } from './allow-list.ts';
export { defaultEgressLimits, type EgressLimits } from './front.ts';
export type { AddressClass } from './names-and-addresses.ts';
export { classifyAddress } from './names-and-addresses.ts';
export {
  createEgressProxy,
  type Egress,
  type EgressProxy,
  type EgressProxyOptions,
  openEgress,
} from './proxy.ts';
export type { DenialReason, EgressProtocol } from './refusal.ts';
export type { Connect, ResolveHost } from './route.ts';
export { listenInNamespace, proxyEnvironment, proxyPort } from './sandbox-side.ts';
export type { EgressHostCount, EgressSummary, EgressVerdict } from './verdicts.ts';
export { mergeSummaries } from './verdicts.ts';
