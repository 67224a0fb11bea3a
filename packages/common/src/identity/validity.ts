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
export function validityOf(certificate: X509Certificate): CertificateLife {
  return { from: new Date(certificate.validFrom), until: new Date(certificate.validTo) };
}

const day = (at: Date): string => at.toISOString().slice(0, 10);
const minute = (at: Date): string => `${at.toISOString().slice(0, 16)}Z`;

/** Why a certificate does not count at a time, after `its certificate` or the like; undefined where it does. */
export function whyNotValid(certificate: X509Certificate, now: Date): string | undefined {
  const { from, until } = validityOf(certificate);
  if (now > until)
    return `ended on ${isShort({ from, until }) ? minute(until) : day(until)}: ${howAgain({ from, until })}`;
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
  /** How long that is, for people: `ends in 5 h 10 min`, `has ended`. */
  readonly left: string;
  /** How to have another one, for people. */
  readonly remedy: string;
}

/** When a certificate counts from and until. */
export interface CertificateLife {
  readonly from: Date;
  readonly until: Date;
}

// What lives for days alone is renewed by itself (a fleet's CA, and others): it is late where a quarter of that is left.
const shortLifeMs = 8 * dayMs;

function isShort({ from, until }: CertificateLife): boolean {
  return until.getTime() - from.getTime() <= shortLifeMs;
}

function howAgain(life: CertificateLife): string {
  return isShort(life)
    ? 'csc ca renews none that has ended: join again, with a token of csc ca token --again'
    : 'get a new one (csc pki renew, where csc pki made it)';
}

/** Whether a certificate ends within 30 days, or, of a life of days, within its last quarter; or has ended. */
export function isEndingSoon(life: CertificateLife, now: Date): boolean {
  const leftMs = life.until.getTime() - now.getTime();
  const lifeMs = life.until.getTime() - life.from.getTime();
  return isShort(life) ? leftMs < lifeMs / 4 : Math.floor(leftMs / dayMs) < warnDays;
}

/** How long a certificate still counts, for people: in days, in hours and minutes where it is less than two. */
export function tellLeft({ until }: Pick<CertificateLife, 'until'>, now: Date): string {
  const leftMs = until.getTime() - now.getTime();
  if (leftMs < 0) return 'has ended';
  if (leftMs >= 2 * dayMs) return `ends in ${Math.floor(leftMs / dayMs)} days`;
  const minutes = Math.floor(leftMs / 60_000);
  if (minutes === 0) return `ends in ${Math.floor(leftMs / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return `ends in ${hours === 0 ? '' : `${hours} h `}${minutes % 60} min`;
}

/** Those of the certificates that end within 30 days, or of a short life within its last quarter, soonest first. */
export function endingSoon(certificates: readonly NamedCertificate[], now: Date): Ending[] {
  return certificates
    .filter(({ certificate }) => isEndingSoon(validityOf(certificate), now))
    .map(({ name, certificate }) => {
      const life = validityOf(certificate);
      const days = Math.floor((life.until.getTime() - now.getTime()) / dayMs);
      const renewed = isShort(life)
        ? 'csc ca renews it: does that run, and can it be reached?'
        : 'renew it (csc pki renew, where csc pki made it)';
      const remedy = days < 0 ? howAgain(life) : renewed;
      return { certificate: name, ends: life.until.toISOString(), days, left: tellLeft(life, now), remedy };
    })
    .sort((one, other) => (one.ends < other.ends ? -1 : 1));
}

/** The same for people. */
export function tellEnding({ certificate, ends, left, remedy }: Ending): string {
  return `the certificate ${certificate} ${left} (${ends.slice(0, 16)}Z): ${remedy}`;
}
