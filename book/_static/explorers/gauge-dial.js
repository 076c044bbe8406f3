// Two gauges of a head of six tokens in the plane: they move the scores of isotropy and no forecast.
(() => {
  const { isoScoreOf, meanCosine, normals, partitionIsotropy, probabilities } = isonumMath;
  const { bars, shown, text } = isonumDraw;
  const W = [[1.2, 0.1], [0.3, 1.1], [-0.8, 0.7], [-1.1, -0.5], [0.1, -1.2], [0.3, -0.2]]; // its rows sum to zero
  const H = normals(40).map(([x, y]) => [1.4 * x, 0.7 * y]);

  // (W T + 1 a^T, T^-1 h) with T = diag(e^-t, e^t) and a of this length along (0.6, 0.8): scores, forecasts of all states.
  function turned(length, t) {
    const rows = W.map(([x, y]) => [x * Math.exp(-t) + 0.6 * length, y * Math.exp(t) + 0.8 * length]);
    const states = H.map(([x, y]) => [x * Math.exp(t), y * Math.exp(-t)]);
    const scores = [partitionIsotropy(rows, 1), meanCosine(rows), isoScoreOf(states)];
    return { rows, states, scores, forecasts: states.map((h) => probabilities(rows, h)) };
  }
  isonumMath.turned = turned;

  const place = ([x, y]) => [150 + 30 * x, 140 - 30 * y].map((z) => +z.toFixed(1));
  const WORDS = ["partition isotropy of the rows, radius 1", "mean cosine of the rows", "IsoScore of the states"];
  const first = turned(0, 0);

  explore("gauge-dial", {
    controls: {
      length: { label: "Row gauge: length of the vector added to every row", min: 0, max: 3, step: 0.05, value: 0 },
      t: { label: "Linear gauge: how far the states are stretched (log)", min: -1.5, max: 1, step: 0.05, value: 0, show: shown },
    },
    pictures: ["The six rows of the head as squares and forty states as circles, in the plane", "Bars of three scores, which move; marks show them at first", "Bars of the six probabilities at one state, which stay on their marks"],
    draw({ length, t }) {
      const { rows, states, scores, forecasts } = turned(length, t);
      const moved = Math.max(...forecasts.flatMap((p, i) => p.map((x, j) => Math.abs(x - first.forecasts[i][j]))));
      const plane = `<path d="M0,140H340M150,0V240"/>`
        + states.map(place).map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" class="open"/>`).join("")
        + rows.map(place).map(([x, y]) => `<rect x="${x - 5}" y="${y - 5}" width="10" height="10" class="mean"/>`).join("");
      return [plane,
        bars(WORDS.map((words, i) => [words, scores[i], i < 2 ? "mean" : "spectral", first.scores[i]])),
        bars(forecasts[3].map((p, i) => [`probability of token ${i + 1}`, p, "ink", first.forecasts[3][i]]), 37),
        `Partition isotropy ${shown(scores[0])}, mean cosine ${shown(scores[1])}, IsoScore ${shown(scores[2])}: at first ${first.scores.map(shown).join(", ")}. `
        + `Largest change of any probability at any of the forty states: ${moved ? moved.toExponential(0) : 0}.`];
    },
  });
})();
