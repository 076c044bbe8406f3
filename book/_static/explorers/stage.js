// What every explorer stands on: named controls in, pictures and a sentence out. `draw` returns strings and does nothing.
(() => {
  const element = (name, facts = {}, ...children) => {
    const made = Object.assign(document.createElement(name), facts);
    made.append(...children);
    return made;
  };

  // A slider, on a log scale where asked, and the same value as a number to type.
  function slider({ label, min, max, step, value, log }, changed) {
    const to = log ? Math.log : Number;
    const from = (x) => (log ? +Math.exp(x).toPrecision(2) : x);
    const range = element("input", { type: "range", min: to(min), max: to(max), step: log ? to(max / min) / 200 : step, value: to(value) });
    const box = element("input", { type: "number", min, max, step, value, ariaLabel: `${label}, as a number` });
    const follow = () => { range.setAttribute("aria-valuetext", value); changed(); };
    range.addEventListener("input", () => { box.value = value = step === 1 ? Math.round(from(+range.value)) : from(+range.value); follow(); });
    box.addEventListener("input", () => { if (box.value && box.validity.valid) { value = +box.value; range.value = to(value); follow(); } });
    range.setAttribute("aria-valuetext", value);
    return [() => value, element("label", {}, label, range), box];
  }

  function choice({ label, options }, changed) {
    const select = element("select", { onchange: changed }, ...Object.entries(options).map(([value, words]) => new Option(words, value)));
    return [() => select.value, element("label", {}, label, select)];
  }

  // controls: name -> slider or choice. pictures: [what it shows, read aloud; its height, of a width of 340].
  // draw(values) -> [the SVG of each picture, sentence].
  globalThis.explore = (name, { controls, pictures, draw }) => {
    const place = document.getElementById(`explore-${name}`);
    if (!place) return;
    const frames = pictures.map(([words, height]) => {
      const frame = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      for (const [key, value] of [["viewBox", `0 0 340 ${height}`], ["role", "img"], ["aria-label", words]]) frame.setAttribute(key, value);
      return frame;
    });
    const said = element("output", { ariaLive: "polite" });
    let waiting = 0;
    const update = () => {
      waiting = 0;
      const drawn = draw(Object.fromEntries(made.map(([key, [get]]) => [key, get()])));
      said.textContent = drawn.pop();
      drawn.forEach((svg, i) => { frames[i].innerHTML = svg; });
    };
    const changed = () => { waiting ||= requestAnimationFrame(update); };
    const made = Object.entries(controls).map(([key, facts]) => [key, (facts.options ? choice : slider)(facts, changed)]);
    const boxes = made.map(([, [, ...nodes]]) => element("div", { className: "control" }, ...nodes));
    place.append(element("form", { className: "explorer-live", onsubmit: (event) => event.preventDefault() },
      element("div", { className: "controls" }, ...boxes), element("div", { className: "pictures" }, ...frames, said)));
    place.classList.add("live");
    update();
  };

  const shown = (x) => x.toFixed(2).replace(/^-(0.00)$/, "$1").replace("-", "−");
  const text = (x, y, words, end) => `<text x="${x}" y="${y}" text-anchor="${end ? "end" : "start"}">${words}</text>`;

  // Rows of bars from 0 to 1, [words, value, class, first]: the mark stands where the value was at first.
  const bars = (rows, top, gap) => rows.map(([words, value, kind, first], i) => {
    const y = top + gap * i, wide = (x) => 250 * Math.min(Math.max(x, 0), 1);
    return `${text(2, y - 5, words)}<rect class="room" x="2" y="${y}" width="250" height="13"/><rect class="${kind}" x="2" y="${y}" `
      + `width="${wide(value)}" height="13"/><path class="mark" d="M${2 + wide(first)},${y - 2}v17"/>${text(260, y + 12, shown(value))}`;
  }).join("");

  // Axes with ticks, x on a log scale: where a point lies, the path through points, and the SVG of the frame.
  function axes(xs, ys, words) {
    const scale = (x) => Math.log(x / xs[0]) / Math.log(xs.at(-1) / xs[0]);
    const at = ([x, y]) => [38 + 280 * scale(x), 200 - 180 * Math.min(y / ys.at(-1), 1.04)].map((z) => +z.toFixed(1));
    const ticks = xs.map((x) => text(at([x, 0])[0] + 8, 216, x >= 1000 ? `${x / 1000}k` : x, true)).join("") + ys.map((y) => text(33, at([xs[0], y])[1] + 4, y, true)).join("");
    return { at, path: (points) => `M${points.map(at).join("L")}`, frame: `<path d="M38,14V200H322"/>${ticks}${text(322, 233, words[0], true)}${text(2, 10, words[1])}` };
  }

  globalThis.isonumDraw = { axes, bars, shown, text };
})();
