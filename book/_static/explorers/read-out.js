// Ridge on states of 64 directions: error by theory, as they are and whitened, and whether whitening pays.
(() => {
  const { powerLaw, range, ridge, spectralRisk } = isonumMath;
  const { axes, text } = isonumDraw;
  const [D, NOISE, PENALTIES] = [64, 0.25, range(37).map((i) => 10 ** (i / 6 - 4))];

  // Error over the variance of the target, which lies evenly in one eighth of the directions, noise on top.
  function readOut(decay, block, penalty, n) {
    const power = range(D).map((k) => +(Math.floor(k / 8) === block - 1) / 8);
    return spectralRisk(powerLaw(D, decay), power, NOISE, n, ridge(penalty)) / (1 + NOISE);
  }
  // A gain below one in a hundred is none.
  const advice = ([raw, white]) => (Math.abs(Math.log(white / raw)) < 0.01 ? "it does not matter" : white < raw ? "whiten" : "leave them as they are");
  Object.assign(isonumMath, { advice, readOut });

  explore("read-out", {
    controls: {
      decay: { label: "Decay of the spectrum", min: 0, max: 2, step: 0.1, value: 1 },
      block: { label: "Target in eighth (1: strongest)", min: 1, max: 8, step: 1, value: 1 },
      penalty: { label: "Penalty / mean eigenvalue", min: 0.0001, max: 100, step: "any", value: 0.3, log: true },
      n: { label: "Labelled states n", min: 16, max: 4000, step: 1, value: 200, log: true },
    },
    pictures: [["Error against the penalty, a solid line for the states as they are, a dashed one for whitened states", 240]],
    draw({ decay, block, penalty, n }) {
      const { at, path, frame } = axes([0.0001, 0.01, 1, 100], [0, 0.5, 1, 1.5], ["penalty", "error over variance of the target"]);
      const errors = (k) => [decay, 0].map((a) => readOut(a, block, k, n)), now = errors(penalty), all = PENALTIES.map(errors);
      const lines = ["first", "second"].map((kind, i) => {
        const [x, y] = at([penalty, now[i]]);
        return `<path class="${kind}" d="${path(PENALTIES.map((k, j) => [k, all[j][i]]))}"/><circle class="${kind}" cx="${x}" cy="${y}" r="5"/>`
          + `<path class="${kind}" d="M236,${160 + 20 * i}h21"/>${text(262, 164 + 20 * i, ["as they are", "whitened"][i])}`;
      });
      const best = [0, 1].map((i) => Math.min(...all.map((pair) => pair[i])));
      const [a, b, c, d] = [...now, ...best].map((x) => x.toFixed(3));
      return [frame + lines.join(""), `At this penalty, ${advice(now)}: error ${a} as they are, ${b} whitened. `
        + `With the best of these penalties for each, ${advice(best)}: ${c} and ${d}.`];
    },
  });
})();
