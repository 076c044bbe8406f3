// What every explorer stands on: named controls in, pictures and one sentence out. `draw` is pure; it returns strings.
(() => {
  const element = (name, facts = {}, ...children) => {
    const made = Object.assign(document.createElement(name), facts);
    made.append(...children);
    return made;
  };

  // A slider, on a log scale where asked, beside its value; `exact` lets the reader type the value instead.
  function slider({ label, min, max, step = 0.01, value, log, exact, show = String }, changed) {
    const [to, from] = log ? [Math.log, Math.exp] : [Number, Number];
    const range = element("input", { type: "range", min: to(min), max: to(max), step: log ? (to(max) - to(min)) / 200 : step, value: to(value) });
    const box = exact ? element("input", { type: "number", min, max, step, value, ariaLabel: `${label}, as a number` }) : element("span", { ariaHidden: "true" });
    let now = value;
    const say = () => { range.setAttribute("aria-valuetext", show(now)); if (!exact) box.textContent = show(now); };
    range.addEventListener("input", () => {
      now = log ? +from(+range.value).toPrecision(2) : +range.value;
      if (exact) box.value = now;
      say(); changed();
    });
    if (exact) box.addEventListener("input", () => {
      if (!box.validity.valid || box.value === "") return;
      now = +box.value; range.value = to(now);
      say(); changed();
    });
    say();
    return { node: element("div", { className: "control" }, element("label", {}, label, range), box), get: () => now };
  }

  function choice({ label, options }, changed) {
    const select = element("select", { onchange: changed }, ...Object.entries(options).map(([value, words]) => new Option(words, value)));
    return { node: element("div", { className: "control" }, element("label", {}, label, select)), get: () => select.value };
  }

  // controls: name -> slider or choice; pictures: what each shows, read aloud; draw(values) -> [each picture's SVG, sentence].
  globalThis.explore = (name, { controls, pictures, draw }) => {
    const place = document.getElementById(`explore-${name}`);
    if (!place) return;
    const frames = pictures.map((words) => {
      const frame = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      for (const [key, value] of Object.entries({ viewBox: "0 0 340 240", role: "img", "aria-label": words })) frame.setAttribute(key, value);
      return frame;
    });
    const said = element("output", { ariaLive: "polite" });
    let waiting = 0;
    const update = () => {
      const drawn = draw(Object.fromEntries(Object.entries(made).map(([key, control]) => [key, control.get()])));
      said.textContent = drawn.pop();
      drawn.forEach((svg, i) => { frames[i].innerHTML = svg; });
      waiting = 0;
    };
    const changed = () => { waiting ||= requestAnimationFrame(update); };
    const made = Object.fromEntries(Object.entries(controls).map(([key, facts]) => [key, (facts.options ? choice : slider)(facts, changed)]));
    const form = element("form", { className: "explorer-live", onsubmit: (event) => event.preventDefault() },
      element("div", { className: "controls" }, ...Object.values(made).map((control) => control.node)),
      element("div", { className: "pictures" }, ...frames), said);
    place.append(form);
    place.classList.add("live");
    update();
  };

  const shown = (x) => x.toFixed(2).replace("-", "−").replace(/^−(0.00)$/, "$1");
  const text = (x, y, words, facts = "") => `<text x="${x}" y="${y}" ${facts}>${words}</text>`;

  // Rows of bars from 0 to 1, [words, value, class, first]: the mark stands where the value was at first.
  const bars = (rows, gap = 44) => rows.map(([words, value, kind, first], i) => {
    const [y, wide] = [20 + gap * i, (x) => 250 * Math.min(Math.max(x, 0), 1)];
    return `${text(1, y - 5, words)}<rect class="room" x="1" y="${y}" width="250" height="14"/>`
      + `<rect class="${kind}" x="1" y="${y}" width="${wide(value)}" height="14"/>`
      + `<path class="mark" d="M${1 + wide(first)},${y - 1}v16"/>${text(258, y + 12, shown(value))}`;
  }).join("");

  // A frame of axes with ticks [x], [y]: x on a log scale. `at` places a point, `line` draws a path through points.
  const axes = (xs, ys, words) => {
    const [low, high] = [Math.log(xs[0]), Math.log(xs.at(-1))];
    const at = ([x, y]) => [40 + 290 * (Math.log(x) - low) / (high - low), 200 - 175 * Math.min(y / ys.at(-1), 1.05)];
    const path = (points) => "M" + points.map((point) => at(point).map((x) => x.toFixed(1)).join()).join("L");
    const ticks = xs.map((x) => text(at([x, 0])[0], 215, x >= 1000 ? `${x / 1000}k` : x, 'text-anchor="middle"')).join("")
      + ys.map((y) => text(34, at([xs[0], y])[1] + 4, y, 'text-anchor="end"')).join("");
    return { at, path, frame: `<path class="axis" d="M40,15V200H330"/>${ticks}${text(330, 233, words[0], 'text-anchor="end"')}${text(1, 11, words[1])}` };
  };

  globalThis.isonumDraw = { axes, bars, shown, text };
})();
