// What this browser keeps: saved sets, blocked and pinned hashtags, platform and account.

const PLACE = "hashlens";

function read() {
  try {
    return JSON.parse(localStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

const list = (value) => (Array.isArray(value) ? value : []);
const found = read();

export const kept = {
  sets: list(found.sets),
  blocked: list(found.blocked),
  pinned: list(found.pinned),
  platform: String(found.platform ?? ""),
  author: String(found.author ?? ""),
};

export function keep() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(kept));
  } catch {
    // A browser that keeps nothing still works.
  }
}
