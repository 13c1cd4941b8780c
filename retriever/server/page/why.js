// The why-panel of one hashtag: shares of the channels, posts behind it, and what it goes with.

import { get, picture } from "./api.js";
import { button, find, make, percent, show } from "./dom.js";

const POSTS = 4; // posts shown

const GLUE = new Set(["and", "are", "but", "for", "her", "his", "not", "our", "she", "that", "the", "this",
  "was", "with", "you", "your"]);

function wordsOf(text) {
  const words = text.toLowerCase().match(/[\p{L}\p{M}\p{N}]{3,}/gu) ?? [];
  return new Set(words.filter((word) => !GLUE.has(word)));
}

// A caption with the words marked that stand in one's own.
function marked(text, own) {
  return text.split(/([\p{L}\p{M}\p{N}]+)/u).map((part) =>
    own.has(part.toLowerCase()) ? make("mark", {}, part) : part);
}

async function postItem(id, own) {
  const path = `v1/posts/${encodeURIComponent(id)}`;
  const post = await get(path);
  const text = make("div", {}, ...marked(post.caption, own),
    make("p", { class: "quiet" }, post.hashtags.slice(0, 12).join(" ")));
  const item = make("li", {}, text);
  if (post.picture) {
    picture(`${path}/thumbnail`).then((src) => {
      item.prepend(make("img", { src, alt: "", onload: () => URL.revokeObjectURL(src) }));
    }, () => {}); // the picture's file is gone
  }
  return item;
}

function shares(tag) {
  return make("ul", { class: "list" }, ...tag.evidence.map((part) => make(
    "li", {},
    make("span", {}, part.channel),
    make("meter", { value: part.share, "aria-label": `share of ${part.channel}` }),
    make("small", { class: "share" }, percent(part.share)),
  )));
}

async function posts(tag, own) {
  const ids = [...new Set(tag.evidence.flatMap((part) => part.posts))].slice(0, POSTS);
  if (!ids.length) return [];
  const items = await Promise.all(ids.map((id) => postItem(id, own).catch(() => null)));
  return [make("h3", {}, "Posts behind it"), make("ul", { class: "posts" }, ...items)];
}

async function facts(tag, acts) {
  const found = await get(`v1/hashtags/${encodeURIComponent(tag.tag)}`).catch(() => null);
  if (!found) return [make("p", { class: "quiet" }, "Nobody in this index used it yet.")];
  const topics = [...found.topics].sort((a, b) => b.authors - a.authors).slice(0, 3);
  const spoken = topics.map((one) => `${one.topic} ${one.authors}`).join(", ");
  const beside = found.goes_with.map((one) => make("li", {},
    button(one.display, () => acts.take(one), { "aria-label": `Take ${one.display}` })));
  return [
    make("p", {}, `${found.posts} posts by ${found.authors} authors in this index (${found.tier}).`),
    topics.length ? make("p", {}, `Its topics, by authors: ${spoken}.`) : null,
    ...(beside.length ? [make("h3", {}, "Goes with"), make("ul", { class: "tags" }, ...beside)] : []),
  ].filter(Boolean);
}

export function whyPanel(acts) {
  const panel = find("why");
  let from = null;
  let now = null;

  function close() {
    show(panel, false);
    now = null;
    from?.isConnected ? from.focus() : find("caption").focus();
  }

  find("why-close").addEventListener("click", close);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });

  return async (tag, caption) => {
    from = document.activeElement;
    now = tag;
    find("why-title").textContent = `Why ${tag.display}`;
    const body = find("why-body");
    body.replaceChildren(
      make("p", {}, tag.reason),
      make("p", {}, `Used by about ${percent(tag.probability)} of such posts.`),
      shares(tag),
      make("div", { class: "row" },
        button("Use as a seed", () => acts.seed(tag)),
        button("Pin", () => acts.pin(tag)),
        button("Block", () => acts.block(tag))),
    );
    show(panel, true);
    panel.focus();
    panel.scrollIntoView({ block: "nearest" });
    const parts = await Promise.all([posts(tag, wordsOf(caption)), facts(tag, acts)]);
    if (now === tag) body.append(...parts.flat());
  };
}
