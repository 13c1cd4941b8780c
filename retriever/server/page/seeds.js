// The seed field: a combobox that completes hashtags of the index.

import { get } from "./api.js";
import { find, make, redraw, show } from "./dom.js";

const PAUSE = 80; // milliseconds after the last key

export function seedField(add) {
  const input = find("seed");
  const list = find("seed-list");
  let shown = [];
  let chosen = -1;
  let timer;
  let asked;

  function close() {
    clearTimeout(timer);
    asked?.abort();
    shown = [];
    draw();
  }

  function draw() {
    show(list, shown.length > 0);
    input.setAttribute("aria-expanded", String(shown.length > 0));
    if (chosen >= shown.length) chosen = -1;
    redraw(list, shown.map((tag, place) => make(
      "li",
      {
        id: `seed-${place}`,
        role: "option",
        "aria-selected": String(place === chosen),
        onmousedown: (event) => {
          event.preventDefault();
          take(tag.tag);
        },
      },
      make("span", {}, tag.display),
      make("small", {}, `${tag.posts} posts`),
    )));
    if (chosen >= 0) input.setAttribute("aria-activedescendant", `seed-${chosen}`);
    else input.removeAttribute("aria-activedescendant");
  }

  function take(text) {
    chosen = -1;
    close();
    const words = text.split(/[\s,]+/).filter(Boolean);
    if (words.length) add(words);
    input.value = "";
  }

  async function complete() {
    const begun = input.value.trim().replace(/^[#＃]/, "");
    asked?.abort();
    if (!begun) return close();
    asked = new AbortController();
    try {
      shown = (await get(`v1/search?q=${encodeURIComponent(begun)}`, asked.signal)).tags;
      chosen = -1;
      draw();
    } catch {
      // Completion is a courtesy: what is wrong is told where answers are shown.
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(complete, PAUSE);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length) {
      event.preventDefault();
      chosen = (chosen + step + shown.length + (chosen < 0 && step < 0 ? 1 : 0)) % shown.length;
      draw();
    } else if (event.key === "Enter" || event.key === ",") {
      event.preventDefault();
      take(chosen >= 0 ? shown[chosen].tag : input.value);
    } else if (event.key === "Escape") {
      chosen = -1;
      close();
    }
  });
}
