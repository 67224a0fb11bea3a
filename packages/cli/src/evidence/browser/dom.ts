// As much of a page as this program touches, so that the rest of the project is not given a browser's globals. All text goes
// in as text: nothing here reads HTML.

/** An element. */
export interface Element {
  textContent: string | null;
  className: string;
  append(...children: (Element | string)[]): void;
  replaceChildren(...children: (Element | string)[]): void;
}

/** What somebody writes in or presses. */
export interface Control extends Element {
  value: string;
  disabled: boolean;
  oninput: (() => void) | null;
  onclick: (() => void) | null;
}

interface PageDocument {
  getElementById(id: string): Element | null;
  getElementsByClassName(name: string): Iterable<Element>;
  createElement(name: 'input' | 'button'): Control;
  createElement(name: string): Element;
}

declare const document: PageDocument;

/** The element with this id. Throws where the page has none. */
export function byId(id: string): Element {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

/** What has this class, in the order of the page. */
export function byClass(name: string): Iterable<Element> {
  return document.getElementsByClassName(name);
}

/** A field to write in, or a button, with this on it. */
export function control(name: 'input' | 'button', ...children: string[]): Control {
  const made = document.createElement(name);
  made.append(...children);
  return made;
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
