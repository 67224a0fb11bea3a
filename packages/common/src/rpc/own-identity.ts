import { X509Certificate } from 'node:crypto';
import { readBoundedFile } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import type { Identity, Role } from '../identity/index.ts';
import { identityOfCertificate } from './peer-identity.ts';

const maxPemBytes = 1024 * 1024;

/**
 * Who a process of ours is, as its own certificate says; of several in the file, the first counts. Throws
 * FILE_UNREADABLE, or CONFIG_INVALID where the certificate is not of the role due.
 * @param file a PEM file
 */
export function readOwnIdentity(file: string, role: Role): Identity {
  const identity = identityIn(file);
  if (identity.role === role) return identity;
  throw new CscError(
    'CONFIG_INVALID',
    `${file} is the certificate of the role ${identity.role}; one of the role ${role} is due`,
  );
}

function identityIn(file: string): Identity {
  const { bytes } = readBoundedFile(file, { maxBytes: maxPemBytes });
  try {
    return identityOfCertificate(new X509Certificate(bytes).raw);
  } catch (cause) {
    const why = cause instanceof CscError ? cause.message : 'it holds no certificate that can be read';
    throw new CscError('CONFIG_INVALID', `${file}: ${why}`, { cause });
  }
}
