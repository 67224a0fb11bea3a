import { type Arrow, findCircle } from './graph.ts';

/** What one package may import of itself and of the others. */
export interface PackageRooms {
  /** Other packages of ours. */
  readonly packages: readonly string[];
  /** Each room, a folder of `src` or a file that lies loose in it, with the rooms that it may import. */
  readonly rooms: Readonly<Record<string, readonly string[]>>;
}

export type House = Readonly<Record<string, PackageRooms>>;

/** What of the arrows the house does not allow, and where its own plan is in the way of itself: one line each. */
export function findFaults(arrows: readonly Arrow[], files: readonly string[], house: House): string[] {
  return [
    ...Object.entries(house).flatMap(([name, plan]) => planFaults(name, plan)),
    ...files.flatMap((file) => homeless(file, house)),
    ...new Set(arrows.flatMap((arrow) => arrowFaults(arrow, house))),
    ...fileCircle(arrows),
  ];
}

// A plan that goes round allows everything.
function planFaults(name: string, { rooms }: PackageRooms): string[] {
  const planned = Object.entries(rooms);
  const circle = findCircle(planned.flatMap(([from, others]) => others.map((to) => [from, to] as const)));
  const unknown = planned.flatMap(([from, others]) =>
    others
      .filter((to) => rooms[to] === undefined)
      .map((to) => `${name}: ${from} may import ${to}, which is no room`),
  );
  return [
    ...(circle === undefined ? [] : [`${name}: the plan goes round: ${circle.join(' → ')}`]),
    ...unknown,
  ];
}

function homeless(file: string, house: House): string[] {
  const { name, room } = placeOf(file);
  const plan = house[name];
  if (plan === undefined) return [`${file}: no plan for the package ${name}`];
  if (plan.rooms[room] !== undefined) return [];
  return [`${file}: ${room} is no room of ${name}`];
}

function arrowFaults({ from, to }: Arrow, house: House): string[] {
  const mine = placeOf(from);
  const theirs = placeOf(to);
  const plan = house[mine.name];
  if (!to.startsWith('packages/')) return [`${from} must not import ${to}, which is never shipped`];
  if (mine.name !== theirs.name)
    return plan?.packages.includes(theirs.name) === true
      ? []
      : [`${from}: ${mine.name} must not import ${theirs.name}`];
  if (mine.room === theirs.room || plan?.rooms[mine.room]?.includes(theirs.room) === true) return [];
  return [`${from}: in ${mine.name}, ${mine.room} must not import ${theirs.room} (${to})`];
}

function fileCircle(arrows: readonly Arrow[]): string[] {
  const circle = findCircle(arrows.filter(({ lazy }) => !lazy).map(({ from, to }) => [from, to] as const));
  return circle === undefined ? [] : [`these files import each other: ${circle.join(' → ')}`];
}

// packages/NAME/src/ROOM/…; a loose file is a room by itself.
function placeOf(path: string): { readonly name: string; readonly room: string } {
  const [, name = '', , room = ''] = path.split('/');
  return { name, room };
}
