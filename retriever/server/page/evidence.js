// Channels of evidence in the words, and the colours, that people see.

const GROUPS = {
  picture: { name: "your photo", channels: ["image neighbours", "picture words", "picture classes"] },
  words: {
    name: "your words",
    channels: ["caption neighbours", "word neighbours", "word counts", "caption vectors", "meaning",
      "spelled", "words inside", "language"],
  },
  seeds: { name: "your seeds", channels: ["seed neighbours", "co-occurrence", "seed vectors", "linear"] },
  topic: { name: "the topic", channels: ["topic", "topic fit"] },
  own: { name: "what you use", channels: ["habits"] },
  known: { name: "what is often used", channels: [] },
};

export const groups = Object.entries(GROUPS).map(([id, group]) => ({ id, name: group.name }));

function groupOf(channel) {
  const found = Object.entries(GROUPS).find(([, group]) => group.channels.includes(channel));
  return found ? found[0] : "known";
}

const TELLS = 0.1; // share from which on what is of this very post is named before mere use

// The group of the largest share in a hashtag's score; that it is often used, only for want of more.
export function mainGroup(tag) {
  const shares = {};
  for (const part of tag.evidence) {
    const group = groupOf(part.channel);
    shares[group] = (shares[group] ?? 0) + part.share;
  }
  const ranked = Object.entries(shares).sort((a, b) => b[1] - a[1]);
  const best = ranked.find(([group, share]) => group !== "known" && share >= TELLS);
  const id = best ? best[0] : "known";
  return { id, name: GROUPS[id].name };
}
