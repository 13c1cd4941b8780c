// Topics as bars that one can move: what is set by hand stays, the others share the rest.

import { find, make, percent, show } from "./dom.js";

export function topicBars(changed) {
  const box = find("topics");
  const bars = new Map();
  let set = {};

  function add(name) {
    const id = `topic-${bars.size}`;
    const input = make("input", { id, type: "range", min: 0, max: 100, step: 1, value: 0 });
    const output = make("output", { for: id });
    const row = make("div", { class: "bar" }, make("label", { for: id }, name), input, output);
    input.addEventListener("input", () => {
      move(name, Number(input.value) / 100);
      changed(set);
    });
    box.append(row);
    bars.set(name, { row, input, output });
  }

  // Those set before give way where all together would pass 1.
  function move(name, share) {
    const others = Object.entries(set).filter(([other]) => other !== name);
    const sum = others.reduce((total, [, value]) => total + value, 0);
    const scale = sum > 1 - share ? (1 - share) / sum : 1;
    set = Object.fromEntries(others.map(([other, value]) => [other, value * scale]));
    set[name] = share;
    // All at zero says nothing.
    if (Object.keys(set).length === bars.size && !Object.values(set).some(Boolean)) set = {};
    draw(set);
  }

  function draw(shares) {
    for (const [name, { row, input, output }] of bars) {
      if (name in shares) {
        input.value = String(Math.round(shares[name] * 100));
        input.setAttribute("aria-valuetext", percent(shares[name]));
        output.textContent = percent(shares[name]);
      }
      row.classList.toggle("set", name in set);
    }
    show(find("topics-free"), Object.keys(set).length > 0);
  }

  find("topics-free").addEventListener("click", () => {
    set = {};
    draw({});
    bars.values().next().value?.input.focus();
    changed(set);
  });

  return {
    names(names) {
      if (bars.size === 0) names.forEach(add);
    },
    told(topics) {
      draw({ ...Object.fromEntries(topics.map((one) => [one.topic, one.probability])), ...set });
    },
  };
}
