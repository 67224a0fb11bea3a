import { BlockList, isIP } from 'node:net';
import * as z from 'zod';
import { camelKeys } from '../yaml/config.ts';
import { collectorForm, isCollector } from './collector.ts';

/** Where a service's metrics can be read: `GET http://ADDRESS:PORT/metrics`. */
export interface MetricsConfig {
  /** `IP:PORT`; an IPv6 address in brackets. */
  readonly address: string;
}

/** Where a service sends its traces. */
export interface TracesConfig {
  /** The URL of an OTLP/HTTP collector's traces, as `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  /** The share of runs that are traced where their client has not decided: 0 to 1. */
  readonly sampleRatio: number;
}

/** The section `telemetry` of a service's config: absent, as each of its members, is off. */
export interface TelemetryConfig {
  readonly metrics?: MetricsConfig;
  readonly traces?: TracesConfig;
}

const maxAddressLength = 64;
const maxEndpointLength = 2048;

/**
 * The schema of `telemetry`. Metrics name principals, hosts and policies, and whoever can connect can read them: they
 * stay on loopback. Of a service that may listen on the network (`'network'`) its owner can say otherwise, with
 * `allow_network: true`; of an executor, which has no listening port on the host's network, nobody can.
 */
export function telemetrySchema(reach: 'loopback' | 'network') {
  const members = {
    address: z
      .string()
      .max(maxAddressLength)
      .refine((it) => hostOf(it) !== undefined, 'must be IP:PORT, as 127.0.0.1:9464 or [::1]:9464'),
  };
  const loopback = z.strictObject(members).superRefine(({ address }, context) => {
    if (staysOnHost(address)) return;
    context.addIssue({ code: 'custom', path: ['address'], message: offHost });
  });
  const network = z
    .strictObject({ ...members, allow_network: z.boolean().default(false) })
    .superRefine(({ address, allow_network }, context) => {
      if (allow_network || staysOnHost(address)) return;
      context.addIssue({
        code: 'custom',
        path: ['address'],
        message: `${offHost}, or say allow_network: true`,
      });
    })
    .transform(({ address }) => ({ address }));
  const traces = z
    .strictObject({
      endpoint: z.string().max(maxEndpointLength).refine(isCollector, collectorForm),
      sample_ratio: z.number().min(0).max(1).default(1),
    })
    .transform(camelKeys);
  return z.strictObject({
    metrics: (reach === 'loopback' ? loopback : network).exactOptional(),
    traces: traces.exactOptional(),
  });
}

const offHost = 'can be reached from other hosts: take 127.0.0.1:PORT or [::1]:PORT';

// A name would be whatever a resolver says at the time.
function hostOf(address: string): string | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain ?? '';
  const family = bracketed === undefined ? 4 : 6;
  return isIP(host) === family && Number(port) <= 65_535 ? host : undefined;
}

// Made when it is asked: a program that reads no config is not to load node:net for it.
function staysOnHost(address: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const host = hostOf(address);
  // What is no address at all is another fault.
  return host === undefined || loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}
