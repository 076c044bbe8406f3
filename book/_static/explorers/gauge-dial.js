// Two gauges of a head of six tokens in the plane: they move the scores of isotropy and no forecast.
(() => {
  const { isoScoreOf, meanCosine, normals, partitionIsotropy, probabilities } = isonumMath;
  const { bars, shown, text } = isonumDraw;
  const W = [[1.2, 0.1], [0.3, 1.1], [-0.8, 0.7], [-1.1, -0.5], [0.1, -1.2], [0.3, -0.2]]; // its rows sum to zero
  const H = normals(40).map(([x, y]) => [1.4 * x, 0.7 * y]);

  // (W T + 1 a^T, T^-1 h) with T = diag(e^-t, e^t) and a of this length along (0.6, 0.8).
  function turned(length, t) {
    const rows = W.map(([x, y]) => [x * Math.exp(-t) + 0.6 * length, y * Math.exp(t) + 0.8 * length]);
    const states = H.map(([x, y]) => [x * Math.exp(t), y * Math.exp(-t)]);
    const scores = [partitionIsotropy(rows, 1), meanCosine(rows), isoScoreOf(states)];
    return { rows, states, scores, forecasts: states.map((h) => probabilities(rows, h)) };
  }
  isonumMath.turned = turned;

  // "3e-16" as it is printed
  const power = (x) => x.toExponential(0).replace(/e(.*)/, (_, n) => ` × 10${[...n].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("")}`);
  const first = turned(0, 0);
  const WORDS = ["partition isotropy of the rows, radius 1", "mean cosine of the rows", "IsoScore of the states"];
  explore("gauge-dial", {
    controls: {
      length: { label: "Row gauge: length of the shift", min: 0, max: 3, step: 0.05, value: 0 },
      t: { label: "Linear gauge: log stretch", min: -1.5, max: 1, step: 0.05, value: 0 },
    },
    pictures: [["The plane with the six rows of the head, squares, and forty states, circles", 340], ["Bars of three scores, which leave their marks, and of six probabilities, which stay on them", 360]],
    draw({ length, t }) {
      const { rows, states, scores, forecasts } = turned(length, t), at = ([x, y]) => [140 + 36 * x, 190 - 36 * y];
      const moved = Math.max(...forecasts.flatMap((p, i) => p.map((x, j) => Math.abs(x - first.forecasts[i][j]))));
      const dots = states.map(at).map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3.2"/>`);
      const squares = rows.map(at).map(([x, y]) => `<rect class="mean" x="${x - 5}" y="${y - 5}" width="10" height="10"/>`);
      return [`<path d="M0,190H340M140,20V340"/>${dots.join("")}${squares.join("")}${text(2, 12, "squares: rows of the head, circles: states")}`,
        bars(WORDS.map((words, i) => [words, scores[i], i < 2 ? "mean" : "spectral", first.scores[i]]), 20, 42)
        + bars(forecasts[3].map((p, i) => [`probability of token ${i + 1} at one state`, p, "ink", first.forecasts[3][i]]), 164, 36),
        `Partition isotropy ${shown(scores[0])}, mean cosine ${shown(scores[1])}, IsoScore ${shown(scores[2])}; at first (marks) ${first.scores.map(shown).join(", ")}. `
        + `Largest change of any probability at any of the forty states: ${moved ? power(moved) : 0}.`];
    },
  });
})();
