import type { Frame, PartProfile } from './read.ts';

interface Node {
  readonly name: string;
  readonly room: string;
  micros: number;
  readonly children: Map<string, Node>;
}

const width = 1200;
const rowHeight = 16;
// Narrower than this in the whole picture nothing can be read, and it would be most of the file.
const leastPixels = 4;
const mostDepth = 60;

/**
 * A flame graph as an SVG that needs nothing beside itself: the processes of a row side by side, each as wide as the time
 * that it worked, with who calls whom from the bottom up. A pointer on a box says whose it is and how long.
 */
export function toFlameGraph(title: string, parts: readonly PartProfile[]): string {
  const root = toTree(parts);
  const depth = Math.min(mostDepth, depthOf(root, leastPixels * (root.micros / width)));
  const height = (depth + 2) * rowHeight;
  const boxes: string[] = [];
  draw(root, { x: 0, depth: 0, scale: width / root.micros, height, total: root.micros, boxes });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="10">`,
    `<title>${toXmlText(title)}</title>`,
    '<style>rect{stroke:#fff;stroke-width:.4}text{pointer-events:none}g:hover>rect{stroke:#000;stroke-width:1}</style>',
    `<text x="4" y="12" font-size="12">${toXmlText(title)}</text>`,
    ...boxes,
    '</svg>\n',
  ].join('\n');
}

function toTree(parts: readonly PartProfile[]): Node {
  const root = makeNode({ name: 'all', room: '' });
  for (const { part, stacks } of parts)
    for (const { frames, micros } of stacks) {
      let node = root;
      root.micros += micros;
      for (const frame of [{ name: part, room: part }, ...frames]) {
        node = childOf(node, frame);
        node.micros += micros;
      }
    }
  return root;
}

function makeNode({ name, room }: Frame): Node {
  return { name, room, micros: 0, children: new Map() };
}

function childOf(node: Node, frame: Frame): Node {
  const key = `${frame.room} ${frame.name}`;
  const known = node.children.get(key);
  if (known !== undefined) return known;
  const made = makeNode(frame);
  node.children.set(key, made);
  return made;
}

function depthOf(node: Node, leastMicros: number): number {
  const shown = [...node.children.values()].filter(({ micros }) => micros >= leastMicros);
  return 1 + Math.max(0, ...shown.map((child) => depthOf(child, leastMicros)));
}

interface Drawing {
  readonly x: number;
  readonly depth: number;
  /** Pixels a microsecond. */
  readonly scale: number;
  readonly height: number;
  readonly total: number;
  readonly boxes: string[];
}

function draw(node: Node, drawing: Drawing): void {
  const { depth, scale, height, total, boxes } = drawing;
  let { x } = drawing;
  if (depth >= mostDepth) return;
  for (const child of [...node.children.values()].toSorted((a, b) => b.micros - a.micros)) {
    const wide = child.micros * scale;
    if (wide < leastPixels) continue;
    boxes.push(toBox(child, { x, y: height - (depth + 1) * rowHeight, wide, share: child.micros / total }));
    draw(child, { ...drawing, x, depth: depth + 1 });
    x += wide;
  }
}

function toBox(
  { name, room, micros }: Node,
  { x, y, wide, share }: { x: number; y: number; wide: number; share: number },
): string {
  const says = `${room === name ? '' : `${room}: `}${name} — ${(micros / 1000).toFixed(0)} ms, ${(share * 100).toFixed(1)} %`;
  const letters = Math.floor((wide - 4) / 6);
  const label =
    letters < 4
      ? ''
      : `<text x="${Math.round(x) + 2}" y="${y + 11}">${toXmlText(name.slice(0, letters))}</text>`;
  const box = `<rect x="${x.toFixed(1)}" y="${y}" width="${wide.toFixed(1)}" height="${rowHeight - 1}" fill="${toColour(room)}"/>`;
  return `<g><title>${toXmlText(says)}</title>${box}${label}</g>`;
}

// A package has a colour, so that whose time it is can be seen from afar: ours warm, Node's blue, dependencies green.
function toColour(room: string): string {
  const [family = ''] = room.split(/[/ →]/);
  const hash = [...family].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 997, 7);
  if (room.includes('garbage')) return '#c9c';
  if (room.startsWith('node:')) return `hsl(${200 + (hash % 30)},60%,72%)`;
  if (/^(?:gate|executor|client|common|sandbox|cli|csc|evidence)\b/.test(room))
    return `hsl(${hash % 55},80%,70%)`;
  return `hsl(${100 + (hash % 50)},45%,70%)`;
}

function toXmlText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
