import type { PartProfile } from './read.ts';

// What is less than this in each part goes together.
const leastShare = 0.03;

/** Where the time of each part goes, by room, as a table in Markdown: the time spent in it, not in what it calls. */
export function toRoomTable(parts: readonly PartProfile[]): string {
  const lines = parts
    .map(({ part, stacks }) => ({ part, rooms: selfTimes(stacks) }))
    .map(({ part, rooms }) => {
      const total = [...rooms.values()].reduce((sum, it) => sum + it, 0);
      const shown = [...rooms]
        .filter(([, micros]) => micros >= total * leastShare)
        .toSorted(([, a], [, b]) => b - a);
      const rest = total - shown.reduce((sum, [, micros]) => sum + micros, 0);
      const cells = [...shown, ['the rest', rest] as const].map(
        ([room, micros]) => `${room} ${((micros / total) * 100).toFixed(0)} %`,
      );
      return `| ${part} | ${(total / 1000).toFixed(0)} ms | ${cells.join(', ')} |`;
    });
  return ['| process | worked | where |', '| --- | --- | --- |', ...lines].join('\n');
}

function selfTimes(stacks: PartProfile['stacks']): Map<string, number> {
  const rooms = new Map<string, number>();
  for (const { frames, micros } of stacks) {
    const room = frames.at(-1)?.room ?? '';
    rooms.set(room, (rooms.get(room) ?? 0) + micros);
  }
  return rooms;
}
