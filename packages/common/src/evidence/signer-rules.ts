import { CscError, quoteBriefly } from '../errors/index.ts';
import { parseIdentity } from '../identity/index.ts';
import type { ExecutionReceipt } from '../receipt/index.ts';

/** Whose key a receipt was signed with. */
export interface ReceiptSigner {
  readonly role: 'executor' | 'gate';
  readonly name: string;
}

/**
 * Whose key a receipt is signed with decides what it may say. An executor speaks for itself alone. A gate can only say
 * that it let nothing run; whether that is so, nobody can tell but the hosts. Nobody else signs receipts. Throws
 * RECEIPT_INVALID.
 * @param owner who the key ring or the gate says the key belongs to
 */
export function checkSigner(receipt: ExecutionReceipt, owner: string): ReceiptSigner {
  const signer = findSigner(owner);
  if (signer === undefined) {
    throw invalid(`the receipt is signed by ${JSON.stringify(owner)}, who is neither an executor nor a gate`);
  }
  if (signer.role === 'gate') checkNothingRan(receipt);
  else {
    checkExecutor(receipt, signer.name);
    checkTrustDomain(receipt, owner);
  }
  return signer;
}

/** The executor or gate that an owner in a key ring stands for; undefined where it is neither. */
export function findSigner(owner: string): ReceiptSigner | undefined {
  const identity = parseIdentity(owner);
  if (identity?.role === 'executor' || identity?.role === 'gate') {
    return { role: identity.role, name: identity.name };
  }
  // Gates before 0.2 name themselves so.
  const [, name] = /^gate\/(.+)$/.exec(owner) ?? [];
  return name === undefined ? undefined : { role: 'gate', name };
}

/**
 * A CA may certify for several fleets, and a receipt need not name anybody of its own: whoever verifies it for one fleet says
 * which that is. A key that does not say whose it is does not count then, either. Throws RECEIPT_INVALID.
 * @param owner of the key that has signed it. Undefined: the key ring does not say
 */
export function checkSignersDomain(owner: string | undefined, trustDomains: readonly string[]): void {
  const domain = parseIdentity(owner ?? '')?.trustDomain;
  if (domain !== undefined && trustDomains.includes(domain)) return;
  const whose =
    owner === undefined ? 'signed with a key of which nothing says whose it is' : `of ${quoteBriefly(owner)}`;
  throw invalid(`the receipt is ${whose}, and this is the trust domain ${trustDomains.join(' or ')}`);
}

function checkExecutor(receipt: ExecutionReceipt, name: string): void {
  // A v0.1 receipt has no member for it: there, the key alone says who it was.
  if (receipt.receipt_version !== 'csc.receipt.v0.2' || receipt.executor_id === name) return;
  const said = receipt.executor_id === undefined ? 'names no executor' : `is of ${receipt.executor_id}`;
  throw invalid(`the receipt ${said}, and executor ${name} has signed it`);
}

// Gate and host take from nobody of another trust domain, so that who can certify for one cannot speak of what ran in another.
function checkTrustDomain(receipt: ExecutionReceipt, owner: string): void {
  const principal = receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.principal : undefined;
  const [asked, signed] = [principal ?? '', owner].map((it) => parseIdentity(it)?.trustDomain);
  if (asked === undefined || asked === signed) return;
  throw invalid(
    `the receipt is of what ${principal} asked for, and ${owner}, of another trust domain, has signed it`,
  );
}

function checkNothingRan(receipt: ExecutionReceipt): void {
  const ranNothing = receipt.status === 'blocked' || receipt.status === 'expired';
  const says = [receipt.exit_code, receipt.stdout_hash, receipt.stderr_hash];
  const isV02 = receipt.receipt_version === 'csc.receipt.v0.2';
  const names = isV02 && (receipt.executor_id !== undefined || receipt.commands.length > 0);
  if (ranNothing && !names && says.every((it) => it === undefined)) return;
  throw invalid('the receipt says that something ran, and a gate has signed it: only an executor can say so');
}

function invalid(message: string): CscError {
  return new CscError('RECEIPT_INVALID', message);
}
