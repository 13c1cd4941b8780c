// The page: what is given goes to the server as one types, what it finds becomes chips.

import { get, recommend, useKey } from "./api.js";
import { button, find, make, percent, redraw, show } from "./dom.js";
import { groups, mainGroup } from "./evidence.js";
import { keep, kept } from "./kept.js";
import { photoField } from "./photo.js";
import { seedField } from "./seeds.js";
import { takenPanel } from "./taken.js";
import { topicBars } from "./topics.js";
import { whyPanel } from "./why.js";

const PAUSE = 120; // milliseconds after the last key
const AGAIN = 2000; // milliseconds after which a server that is gone is looked for

const state = {
  photo: null, seeds: [], topics: {}, taken: [], tags: [], limits: new Map(), authors: false,
};
let timer;
let asked = null;

const hasTaken = (tag) => state.taken.some((other) => other.tag === tag.tag);

function taken(tags) {
  state.taken = tags;
  drawTaken();
  drawChips();
}

function toggle(tag) {
  taken(hasTaken(tag) ? state.taken.filter((other) => other.tag !== tag.tag) : [...state.taken, tag]);
}

function seed(tag) {
  addSeeds([tag.tag]);
}

function addSeeds(words) {
  const bare = words.map((word) => word.replace(/^[#＃]/, ""));
  state.seeds = [...new Set([...state.seeds, ...bare])].slice(0, 30);
  drawSeeds();
  soon(0);
}

function ruled(kind, tag) {
  const other = kind === "blocked" ? "pinned" : "blocked";
  kept[other] = kept[other].filter((one) => one !== tag.tag);
  kept[kind] = [...new Set([...kept[kind], tag.tag])];
  if (kind === "blocked") state.taken = state.taken.filter((one) => one.tag !== tag.tag);
  keep();
  drawTaken();
  soon(0);
}

const drawTaken = takenPanel(state, { taken, toggle, seed, ruled: () => soon(0) });
const why = whyPanel({
  seed,
  take: (tag) => hasTaken(tag) || toggle(tag),
  block: (tag) => ruled("blocked", tag),
  pin: (tag) => ruled("pinned", tag),
});
const bars = topicBars((topics) => {
  state.topics = topics;
  soon();
});
seedField(addSeeds);
photoField((photo) => {
  state.photo = photo;
  soon(0);
}, trouble);

function drawSeeds() {
  redraw(find("seeds"), state.seeds.map((word) => make("li", {}, button(`#${word} ×`, () => {
    state.seeds = state.seeds.filter((other) => other !== word);
    drawSeeds();
    if (!state.seeds.length) find("seed").focus();
    soon(0);
  }, { "aria-label": `Remove the seed #${word}`, "data-focus": word }))));
}

function chip(tag) {
  const main = mainGroup(tag);
  const pressed = String(hasTaken(tag));
  return make("li", {},
    make("button", {
      type: "button", class: `chip ${main.id}`, "aria-pressed": pressed, "data-focus": tag.tag,
      onclick: () => toggle(tag),
    },
    make("strong", {}, tag.display),
    make("span", { class: "chance" }, percent(tag.probability)),
    make("span", {}, `${tag.tier} · from ${main.name}`)),
    button("Why", () => why(tag, find("caption").value),
      { "aria-label": `Why ${tag.display}`, "data-focus": `why ${tag.tag}` }));
}

function drawChips() {
  redraw(find("chips"), state.tags.map(chip));
}

function drawAnswer(answer) {
  state.tags = answer.tags;
  drawChips();
  bars.names([...answer.topics].map((one) => one.topic).sort());
  bars.told(answer.topics);
  const found = answer.tags.map((tag) => tag.display).join(", ");
  find("said").textContent = found ? `${answer.tags.length} hashtags: ${found}` : "No hashtag.";
  find("notes").replaceChildren(...answer.notes.map((note) => make("li", {}, note)));
  show(find("legend"), answer.tags.length > 0);
}

function trouble(message) {
  find("trouble").textContent = message;
  show(find("trouble"), Boolean(message));
}

function soon(pause = PAUSE) {
  clearTimeout(timer);
  timer = setTimeout(ask, pause);
}

function given() {
  return {
    photo: state.photo,
    caption: find("caption").value,
    seeds: state.seeds,
    topics: state.topics,
    platform: kept.platform,
    author: state.authors ? kept.author : "",
    most: find("most").value,
    blocked: kept.blocked,
    pinned: kept.pinned,
  };
}

function nothing() {
  state.tags = [];
  drawChips();
  show(find("legend"), false);
  find("notes").replaceChildren();
  find("said").textContent = "Write a caption, add a seed or a photo.";
  document.body.classList.remove("waiting");
  trouble("");
}

async function ask() {
  asked?.abort();
  const wanted = given();
  if (!wanted.photo && !wanted.caption.trim() && !wanted.seeds.length) return nothing();
  const mine = new AbortController();
  asked = mine;
  document.body.classList.add("waiting");
  try {
    const answer = await recommend(wanted, mine.signal);
    trouble("");
    drawAnswer(answer);
    find("state").textContent = "Ready";
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
  if (asked === mine) document.body.classList.remove("waiting");
}

function failed(error) {
  if (error.status === 429) return soon(1000 * (error.after || 1));
  if (error.status === 401) {
    show(find("key-form"), true);
    find("key").focus();
  }
  if (error.status === 0) away();
  trouble(error.message);
}

// The server is gone: look for it, and go on where one was.
function away() {
  find("state").textContent = "The server is gone; looking for it …";
  setTimeout(start, AGAIN);
}

async function start() {
  let index;
  try {
    index = await get("v1/index");
  } catch (error) {
    return failed(error);
  }
  find("state").textContent = "Ready";
  find("about").textContent =
    `${index.counts.posts.toLocaleString("en")} posts, generation ${index.generation}.`;
  state.limits = new Map(index.platforms.map((one) => [one.name, one]));
  const names = index.platforms.map((one) => make("option", { value: one.name },
    one.limit ? `${one.name} (${one.limit})` : one.name));
  find("platform").replaceChildren(make("option", { value: "" }, "any"), ...names);
  if (!state.limits.has(kept.platform)) kept.platform = "";
  find("platform").value = kept.platform;
  state.authors = index.counts.authors > 1;
  show(find("account"), state.authors);
  find("author").value = kept.author;
  bars.names(index.topics.map((one) => one.topic).sort());
  trouble("");
  drawTaken();
  soon(0);
}

find("legend").append(...groups.map((one) => make("li", { class: one.id }, one.name)));
find("caption").addEventListener("input", () => soon());
find("most").addEventListener("input", () => soon());
find("platform").addEventListener("change", (event) => {
  kept.platform = event.target.value;
  keep();
  drawTaken();
  soon(0);
});
find("author").addEventListener("change", (event) => {
  kept.author = event.target.value.trim();
  keep();
  soon(0);
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(find("key").value.trim());
  show(find("key-form"), false);
  start();
});
drawTaken();
start();
