// Requests to this server alone; the key, where one is needed, lives as long as the tab.

const KEY = "hashlens-key";

export class Problem extends Error {
  constructor(status, message, after = 0) {
    super(message);
    this.status = status; // 0 where the server cannot be reached
    this.after = after; // seconds to wait before asking again
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function sent(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const after = Number(answer.headers.get("Retry-After")) || 0;
  throw new Problem(answer.status, told.error ?? `The server says ${answer.status}.`, after);
}

export async function get(path, signal) {
  return (await sent(path, { signal })).json();
}

export async function picture(path) {
  return URL.createObjectURL(await (await sent(path)).blob());
}

export async function recommend(asked, signal) {
  const form = new FormData();
  if (asked.photo) form.append("image", asked.photo, "photo");
  form.append("caption", asked.caption);
  for (const seed of asked.seeds) form.append("seeds", seed);
  if (asked.most) form.append("k", asked.most);
  if (asked.platform) form.append("platform", asked.platform);
  form.append("topics", JSON.stringify(asked.topics));
  const options = { block: asked.blocked, pin: asked.pinned, author: asked.author };
  form.append("options", JSON.stringify(options));
  return (await sent("v1/recommend", { method: "POST", body: form, signal })).json();
}
