// Elements from plain values: text is always text, never markup.

export const find = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function button(text, act, attributes = {}) {
  return make("button", { type: "button", onclick: act, ...attributes }, text);
}

// Replaces children; the keyboard's focus stays on what has the same data-focus.
export function redraw(parent, children) {
  const held = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const place = [...parent.children].findIndex((child) => child.contains(document.activeElement));
  parent.replaceChildren(...children);
  if (held === null || held === undefined) return;
  const same = parent.querySelector(`[data-focus="${CSS.escape(held)}"]`);
  const near = parent.children[Math.min(place, parent.children.length - 1)];
  (same ?? near?.querySelector("button"))?.focus();
}

export function show(element, shown) {
  element.hidden = !shown;
}

export function percent(share) {
  if (share > 0 && share < 0.01) return "<1 %";
  return `${Math.round(share * 100)} %`;
}
