interface Element {
  readonly tag: number;
  readonly body: Uint8Array;
}

const [sequence, octetString, extensionsTag, baseOfDirectory] = [0x30, 0x04, 0xa3, 0xa4];
const [dnsTag, uriTag] = [0x82, 0x86];
const [subjectAltName, nameConstraints] = ['551d11', '551d1e'];

/**
 * Why an issuer's name constraints (RFC 5280 §4.2.1.10) leave out a certificate below it; undefined where they do not,
 * or there are none. A form of name that is constrained and not understood leaves out whatever has such a name.
 * @param issuer DER of the certificate
 * @param leaf DER of the certificate
 */
export function whyLeftOut(issuer: Uint8Array, leaf: Uint8Array): string | undefined {
  const value = certificateParts(issuer).extensions.get(nameConstraints);
  if (value === undefined) return undefined;
  const names = namesOf(leaf);
  const trees = children(only(children(value), sequence));
  for (const { tag, body } of trees)
    if (tag !== 0xa0 && tag !== 0xa1) throw new Error(`a part ${tag} ${body.length}`);
  const permitted = trees.filter(({ tag }) => tag === 0xa0).flatMap(basesOf);
  const excluded = trees.filter(({ tag }) => tag === 0xa1).flatMap(basesOf);
  for (const name of names) {
    const [within, without] = [permitted, excluded].map((all) => all.filter(({ tag }) => tag === name.tag));
    if (within === undefined || without === undefined || within.length + without.length === 0) continue;
    if (name.tag !== dnsTag && name.tag !== uriTag)
      return 'it constrains a form of name that is not understood';
    const isIn = (base: Element): boolean => isWithin(name, text(base.body));
    if (without.some(isIn) || (within.length > 0 && !within.some(isIn)))
      return `it may not certify ${text(name.body)}`;
  }
  return undefined;
}

function isWithin(name: Element, base: string): boolean {
  if (name.tag === dnsTag) {
    const host = text(name.body);
    return base === '' || host === base || host.endsWith(base.startsWith('.') ? base : `.${base}`);
  }
  const host = /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9._-]+)(?:[/?#]|$)/.exec(text(name.body))?.[1];
  if (host === undefined) throw new Error('a URI without a host');
  return base.startsWith('.') ? host.endsWith(base) && host !== base : host === base;
}

function basesOf({ body }: Element): Element[] {
  return children(body).map((subtree) => {
    const [base, ...more] = children(only([subtree], sequence));
    // minimum and maximum have no place in this profile.
    if (base === undefined || more.length > 0) throw new Error('a subtree with more than its base');
    return base;
  });
}

function namesOf(leaf: Uint8Array): Element[] {
  const { subject, extensions } = certificateParts(leaf);
  const value = extensions.get(subjectAltName);
  const names = value === undefined ? [] : children(only(children(value), sequence));
  return subject.length === 0 ? names : [...names, { tag: baseOfDirectory, body: subject }];
}

function certificateParts(der: Uint8Array): { subject: Uint8Array; extensions: Map<string, Uint8Array> } {
  const [tbs] = children(only(children(der), sequence));
  const fields = children(only([tbs], sequence));
  // version [0], serialNumber, signature, issuer, validity, subject.
  const subject = only([fields[fields[0]?.tag === 0xa0 ? 5 : 4]], sequence);
  const wrapped = fields.filter(({ tag }) => tag === extensionsTag);
  const extensions = new Map<string, Uint8Array>();
  for (const { body } of wrapped)
    for (const one of children(only(children(body), sequence))) {
      const parts = children(only([one], sequence));
      const id = hex(only(parts.slice(0, 1), 0x06));
      if (extensions.has(id)) throw new Error('an extension twice');
      extensions.set(id, only(parts.slice(-1), octetString));
    }
  return { subject, extensions };
}

function only(elements: readonly (Element | undefined)[], tag: number): Uint8Array {
  const [one] = elements;
  if (elements.length !== 1 || one?.tag !== tag) throw new Error('not the DER that is due');
  return one.body;
}

// X.690 §10.1: lengths in their shortest form; tags of one byte are all that there are here.
function children(der: Uint8Array): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < der.length; ) {
    const [tag = 0x1f, first = 0x80] = der.subarray(at, at + 2);
    const more = first < 0x80 ? 0 : first - 0x80;
    const bytes = der.subarray(at + 2, at + 2 + more);
    const length = more === 0 ? first : bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    const start = at + 2 + more;
    const isShortest = more === 0 ? first < 0x80 : length >= 0x80 && bytes[0] !== 0;
    if ((tag & 0x1f) === 0x1f || more > 3 || !isShortest || start + length > der.length)
      throw new Error('no DER');
    found.push({ tag, body: der.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes).toLowerCase();
const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (it) => it.toString(16).padStart(2, '0')).join('');
