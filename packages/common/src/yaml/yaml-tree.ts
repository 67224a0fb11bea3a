import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  type Node,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import {
  isJsonObject,
  isPoisonous,
  type JsonObject,
  type JsonValue,
  maxDepth,
  maxFaults,
} from '../encoding/json-value.ts';
import { type Fault, faulty, memberPath, type Parsed, parsed, quoteBriefly } from '../errors/index.ts';
import { readPlainScalar } from './plain-scalar.ts';

const maxAliases = 64;
const maxNodes = 200_000;

/** Turns a parsed document into JSON values, or into every fault that it has. */
export function readYamlTree(document: Document.Parsed, text: string): Parsed<JsonObject> {
  const reader = new TreeReader(document, text);
  const value = reader.read(document.contents, []);
  if (reader.faults.length > 0) return { ok: false, faults: reader.faults };
  return isJsonObject(value) ? parsed(value) : faulty('must contain a YAML mapping');
}

type Path = readonly PropertyKey[];

class TreeReader {
  readonly faults: Fault[] = [];
  private readonly document: Document.Parsed;
  private readonly text: string;
  private nodes = 0;
  private aliases = 0;

  constructor(document: Document.Parsed, text: string) {
    this.document = document;
    this.text = text;
  }

  read(node: unknown, path: Path): JsonValue {
    this.nodes += 1;
    if (this.nodes > maxNodes) return this.fault([], `invalid YAML: it holds more than ${maxNodes} values`);
    if (isAlias(node)) return this.alias(node.resolve(this.document), path);
    if (isTagged(node)) return this.fault(path, `must not have a tag (${quoteBriefly(node.tag)})`);
    if (isScalar(node)) return this.scalar(node, path);
    return isCollection(node) ? this.collection(node, path) : null;
  }

  private collection(node: YAMLMap | YAMLSeq, path: Path): JsonValue {
    if (path.length >= maxDepth) return this.fault(path, `is nested deeper than ${maxDepth} levels`);
    return isMap(node) ? this.mapping(node, path) : this.sequence(node, path);
  }

  // A few nested aliases can stand for billions of values, so what they stand for is counted too (maxNodes).
  private alias(target: Node | undefined, path: Path): JsonValue {
    this.aliases += 1;
    if (this.aliases > maxAliases)
      return this.fault([], `invalid YAML: it holds more than ${maxAliases} aliases`);
    if (target === undefined) return this.fault(path, 'is an alias of nothing');
    return this.read(target, path);
  }

  private mapping(node: YAMLMap, path: Path): JsonValue {
    const object: JsonObject = {};
    const seen = new Set<string>();
    for (const pair of node.items) {
      if (this.stopped()) break;
      const key = this.key(pair.key, path);
      if (key === undefined) continue;
      const member = [...path, key];
      if (seen.has(key)) this.fault(member, 'is a duplicate key: say it once');
      if (isPoisonous(key)) this.fault(member, 'is a name that no member may have');
      else object[key] = this.read(pair.value, member);
      seen.add(key);
    }
    return object;
  }

  private key(node: unknown, path: Path): string | undefined {
    const key = isAlias(node) ? this.alias(node.resolve(this.document), path) : this.keyValue(node, path);
    if (typeof key === 'string') return key;
    if (key !== undefined) this.fault(path, 'has a key that is not a string: quote it');
    return undefined;
  }

  private keyValue(node: unknown, path: Path): JsonValue | undefined {
    if (isScalar(node) && node.type === 'PLAIN' && node.source === '<<') {
      this.fault(path, 'must not have a merge key (<<): write its members out');
      return undefined;
    }
    const before = this.faults.length;
    const value = this.read(node, path);
    return this.faults.length === before ? value : undefined;
  }

  private sequence(node: YAMLSeq, path: Path): JsonValue {
    const list: JsonValue[] = [];
    for (const [index, item] of node.items.entries()) {
      if (this.stopped()) break;
      list.push(this.read(item, [...path, index]));
    }
    return list;
  }

  private scalar(node: Scalar, path: Path): JsonValue {
    if (node.type !== 'PLAIN') return this.quoted(node, path);
    const source = node.source ?? '';
    const scalar = readPlainScalar(source);
    if (scalar.kind === 'value') return scalar.value;
    if (scalar.kind === 'refused') return this.fault(path, scalar.why);
    const advice = `quote it if it is text, or write it plainly: ${scalar.why}`;
    return this.fault(path, `must not be the plain scalar ${quoteBriefly(source)}; ${advice}`);
  }

  private quoted(node: Scalar, path: Path): JsonValue {
    const value = String(node.value);
    if (!value.isWellFormed()) return this.fault(path, 'holds a lone surrogate, which is not text');
    const isBlock = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED';
    if (isBlock && node.range?.[1] === this.text.length && !/[\r\n]$/.test(this.text)) {
      return this.fault(
        path,
        'must end with a newline: readers differ on a block scalar that the file ends in',
      );
    }
    return value;
  }

  private stopped(): boolean {
    return this.faults.length > maxFaults || this.nodes > maxNodes || this.aliases > maxAliases;
  }

  private fault(path: Path, message: string): null {
    if (this.faults.length < maxFaults) this.faults.push({ path: memberPath(path), message });
    else if (this.faults.length === maxFaults) {
      this.faults.push({ path: '', message: `has more faults than these ${maxFaults}` });
    }
    return null;
  }
}

function isTagged(node: unknown): node is { tag: string } {
  return typeof node === 'object' && node !== null && 'tag' in node && typeof node.tag === 'string';
}
