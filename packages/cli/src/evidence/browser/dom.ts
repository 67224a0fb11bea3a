// As much of a page as this program touches, so that the rest of the project is not given a browser's globals. All text goes
// in as text: nothing here reads HTML.

/** An element. */
export interface Element {
  textContent: string | null;
  className: string;
  append(...children: (Element | string)[]): void;
  replaceChildren(...children: (Element | string)[]): void;
}

interface PageDocument {
  getElementById(id: string): Element | null;
  createElement(name: string): Element;
}

declare const document: PageDocument;

/** The element with this id. Throws where the page has none. */
export function byId(id: string): Element {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

/** A new element with this in it. */
export function element(name: string, ...children: (Element | string)[]): Element {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** The same, with a class. */
export function classed(className: string, name: string, ...children: (Element | string)[]): Element {
  const made = element(name, ...children);
  made.className = className;
  return made;
}
