import { classed, control, type Element, element } from './dom.ts';

/** Something that has a row, or a line, of its own. */
export interface Item {
  /** What a filter looks through. */
  readonly text: string;
  /** Made when it is to be seen: a browser does not bear all rows of a large bundle at once. */
  readonly make: () => Element;
}

/** Rows that are in the page at a time. */
export const mostShown = 1000;

/**
 * Shows the items in `body`, all where there are few. Of more, some at a time, with what turns to others and what leaves only
 * those that have a text in them.
 */
export function listing(items: readonly Item[], body: Element, whole: Element = body): Element[] {
  if (items.length <= mostShown) {
    body.append(...items.map(({ make }) => make()));
    return [whole];
  }
  const filter = control('input');
  const [back, next] = [control('button', 'back'), control('button', 'next')];
  const where = element('span');
  let found = items;
  let first = 0;
  const show = (from: number): void => {
    first = from;
    const shown = found.slice(first, first + mostShown);
    body.replaceChildren(...shown.map(({ make }) => make()));
    where.textContent = ` ${shown.length === 0 ? 0 : first + 1} to ${first + shown.length} of ${found.length}, of ${items.length} in all `;
    back.disabled = first === 0;
    next.disabled = first + mostShown >= found.length;
  };
  filter.oninput = () => {
    const wanted = filter.value.toLowerCase();
    found = items.filter(({ text }) => text.toLowerCase().includes(wanted));
    show(0);
  };
  back.onclick = () => show(Math.max(0, first - mostShown));
  next.onclick = () => show(first + mostShown);
  show(0);
  return [
    classed('listing', 'p', element('label', 'only those with ', filter), ' ', back, where, next),
    whole,
  ];
}
