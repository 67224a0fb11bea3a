import type { Socket } from 'node:net';
import { type ClientHello, createClientHelloReader } from './client-hello.ts';
import { type Gathered, gather } from './gather.ts';
import { parseHostName } from './host-name.ts';
import type { DenialReason } from './refusal.ts';

/** What the client of a tunnel sent first. */
export type FirstWords =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly reason: DenialReason; readonly bytes: Buffer };

/**
 * Reads a TLS ClientHello off a tunnel and holds its server name against the host that the tunnel was asked for. Nothing
 * of it has gone on by then.
 * @param host as `parseHostName` gives it
 */
export async function checkHello(
  client: Socket,
  host: string,
  options: { readonly timeoutMs: number; readonly first: Buffer },
): Promise<FirstWords> {
  const reader = createClientHelloReader();
  const gathered = await gather(client, (chunk) => settled(reader.push(chunk)), options);
  if (gathered === undefined) return { ok: false, reason: 'incomplete', bytes: Buffer.alloc(0) };
  const { value, bytes }: Gathered<ClientHello> = gathered;
  const reason = findProblem(value, host);
  return reason === undefined ? { ok: true, bytes } : { ok: false, reason, bytes };
}

function settled(hello: ClientHello): ClientHello | undefined {
  return hello.kind === 'incomplete' ? undefined : hello;
}

function findProblem(hello: ClientHello, host: string): DenialReason | undefined {
  if (hello.kind === 'not_tls') return 'not_tls';
  if (hello.kind !== 'hello') return 'malformed_tls';
  if (hello.serverName === undefined) return 'no_sni';
  const name = parseHostName(hello.serverName);
  return name.ok && name.name === host ? undefined : 'sni_mismatch';
}

const alerts: Partial<Record<DenialReason, number>> = {
  malformed_tls: 50, // decode_error
  no_sni: 109, // missing_extension
  sni_mismatch: 112, // unrecognized_name
};

/**
 * Ends a tunnel whose client was refused, in TLS's own words where it speaks TLS: a fatal alert (RFC 8446 §6), so that
 * it has something to report.
 */
export function endTunnel(client: Socket, reason: DenialReason): void {
  const alert = alerts[reason];
  if (alert !== undefined && client.writable) client.write(Buffer.from([21, 3, 3, 0, 2, 2, alert]));
  client.destroySoon();
}
