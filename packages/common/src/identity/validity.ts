import { X509Certificate } from 'node:crypto';
import { CscError } from '../errors/index.ts';

/** A certificate, and what it is called: a path, or which member it was given as. */
export interface NamedCertificate {
  readonly name: string;
  readonly certificate: X509Certificate;
}

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in order. Throws CONFIG_INVALID where there is none, or one cannot be read. */
export function certificatesIn(text: Uint8Array, name: string): NamedCertificate[] {
  const blocks = Buffer.from(text).toString('latin1').match(pem) ?? [];
  if (blocks.length === 0) throw new CscError('CONFIG_INVALID', `${name} holds no certificate in PEM`);
  try {
    return blocks.map((block) => ({ name, certificate: new X509Certificate(block) }));
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `${name} holds a certificate that cannot be read`, { cause });
  }
}

/** When a certificate counts from and until. */
export function validityOf(certificate: X509Certificate): { readonly from: Date; readonly until: Date } {
  return { from: new Date(certificate.validFrom), until: new Date(certificate.validTo) };
}

const day = (at: Date): string => at.toISOString().slice(0, 10);
const minute = (at: Date): string => `${at.toISOString().slice(0, 16)}Z`;

/** Why a certificate does not count at a time, after `its certificate` or the like; undefined where it does. */
export function whyNotValid(certificate: X509Certificate, now: Date): string | undefined {
  const { from, until } = validityOf(certificate);
  if (now > until) return `ended on ${day(until)}: get a new one (csc pki renew, where csc pki made it)`;
  if (now < from)
    return `is not valid before ${minute(from)}, and the clock here says ${minute(now)}: mend the clock, or wait`;
  return undefined;
}

/** Throws CREDENTIALS_INVALID where a certificate of our own has ended, or has not begun. */
export function checkValidNow({ name, certificate }: NamedCertificate, now: Date): void {
  const why = whyNotValid(certificate, now);
  if (why !== undefined) throw new CscError('CREDENTIALS_INVALID', `the certificate ${name} ${why}`);
}

const dayMs = 24 * 60 * 60 * 1000;

/** Days before its end from which a certificate is warned of. */
export const warnDays = 30;

/** A certificate that ends soon, or has ended. */
export interface Ending {
  /** As NamedCertificate has it. */
  readonly certificate: string;
  /** RFC 3339. */
  readonly ends: string;
  /** Whole days that are left; negative where it has ended. */
  readonly days: number;
}

// What lives for days alone is renewed by itself (a fleet's CA, and others): it is late where a quarter of that is left.
const shortLifeMs = 8 * dayMs;

function isSoon(certificate: X509Certificate, now: Date): boolean {
  const { from, until } = validityOf(certificate);
  const [lifeMs, leftMs] = [until.getTime() - from.getTime(), until.getTime() - now.getTime()];
  return lifeMs <= shortLifeMs ? leftMs < lifeMs / 4 : Math.floor(leftMs / dayMs) < warnDays;
}

/** Those of the certificates that end within 30 days, or of a short life within its last quarter, soonest first. */
export function endingSoon(certificates: readonly NamedCertificate[], now: Date): Ending[] {
  return certificates
    .filter(({ certificate }) => isSoon(certificate, now))
    .map(({ name, certificate }) => {
      const { until } = validityOf(certificate);
      const days = Math.floor((until.getTime() - now.getTime()) / dayMs);
      return { certificate: name, ends: until.toISOString(), days };
    })
    .sort((one, other) => one.days - other.days);
}

/** The same for people. */
export function tellEnding({ certificate, ends, days }: Ending): string {
  const left = days < 0 ? 'has ended' : days === 0 ? 'ends today' : `ends in ${days} days`;
  return `the certificate ${certificate} ${left} (${ends.slice(0, 10)}): renew it (csc pki renew, where csc pki made it)`;
}
