// Hashtags that are taken: counted against the platform, copied, saved as sets; blocked and pinned.

import { button, find, make, redraw } from "./dom.js";
import { keep, kept } from "./kept.js";

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { "aria-hidden": "true" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy"); // without a secure context there is only this
    field.remove();
    return done;
  }
}

export function takenPanel(state, acts) {
  async function copied(joint) {
    const done = await copy(state.taken.map((tag) => tag.display).join(joint));
    find("copied").textContent = done
      ? `Copied ${state.taken.length} hashtags.` : "The browser did not allow copying.";
  }

  find("copy-line").addEventListener("click", () => copied(" "));
  find("copy-lines").addEventListener("click", () => copied("\n"));
  find("clear").addEventListener("click", () => acts.taken([]));
  find("set-save").addEventListener("click", () => {
    const name = find("set-name").value.trim();
    if (!name || !state.taken.length) return;
    kept.sets = [...kept.sets.filter((set) => set.name !== name), { name, tags: state.taken }];
    find("set-name").value = "";
    keep();
    draw();
  });

  function counted() {
    const most = state.limits.get(kept.platform)?.limit;
    const counter = find("counter");
    const number = state.taken.length;
    counter.textContent = most ? `${number} of ${most} on ${kept.platform}` : `${number}`;
    counter.classList.toggle("over", Boolean(most) && number > most);
    if (most && number > most) counter.textContent += `: ${number - most} too many`;
  }

  function rule(kind, tag) {
    return make("li", {}, make("span", {}, `#${tag} is ${kind}`),
      button("Undo", () => {
        kept[kind] = kept[kind].filter((other) => other !== tag);
        keep();
        draw();
        acts.ruled();
      }, { "aria-label": `Undo: #${tag} ${kind}`, "data-focus": `${kind}-${tag}` }));
  }

  function draw() {
    redraw(find("taken"), state.taken.map((tag) => make("li", {},
      button(`${tag.display} ×`, () => acts.toggle(tag),
        { "aria-label": `Drop ${tag.display}`, "data-focus": `drop-${tag.tag}` }),
      button("seed", () => acts.seed(tag),
        { "aria-label": `Use ${tag.display} as a seed`, "data-focus": `seed-${tag.tag}` }))));
    redraw(find("sets"), kept.sets.map((set) => make("li", {},
      make("span", {}, `${set.name}: ${set.tags.map((tag) => tag.display).join(" ")}`),
      button("Take", () => acts.taken(set.tags), { "aria-label": `Take the set ${set.name}` }),
      button("Delete", () => {
        kept.sets = kept.sets.filter((other) => other.name !== set.name);
        keep();
        draw();
      }, { "aria-label": `Delete the set ${set.name}`, "data-focus": `delete-${set.name}` }))));
    redraw(find("rules"), [
      ...kept.pinned.map((tag) => rule("pinned", tag)),
      ...kept.blocked.map((tag) => rule("blocked", tag)),
    ]);
    counted();
  }
  return draw;
}
