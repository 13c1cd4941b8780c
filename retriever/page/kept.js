// What this browser keeps: saved sets, blocked and pinned hashtags, the platform. Nothing is sent.

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
};

export function keep() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(kept));
  } catch {
    // A browser that keeps nothing still works.
  }
}
