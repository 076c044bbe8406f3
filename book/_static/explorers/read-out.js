// Ridge on states of 64 directions: error by theory, as they are and whitened, and whether whitening pays.
(() => {
  const { powerLaw, range, ridge, spectralRisk } = isonumMath;
  const { axes, shown, text } = isonumDraw;
  const [D, NOISE] = [64, 0.25];
  const PENALTIES = range(31).map((i) => 10 ** (i / 6 - 3)); // in units of the mean eigenvalue

  // Error as a share of the target's variance; the target lies evenly in one eighth of the directions.
  function error(decay, block, penalty, n) {
    const power = range(D).map((k) => +(Math.floor(k / 8) === block - 1) / 8);
    return spectralRisk(powerLaw(D, decay), power, NOISE, n, ridge(penalty)) / (1 + NOISE);
  }
  isonumMath.readOut = error;
  const better = (raw, white) => (Math.abs(Math.log(white / raw)) < 0.01 ? "does not matter" : white < raw ? "whiten" : "leave it");

  explore("read-out", {
    controls: {
      decay: { label: "Decay of the spectrum", min: 0, max: 3, step: 0.1, value: 1 },
      block: { label: "Eighth of the directions that holds the target, 1 the strongest", min: 1, max: 8, step: 1, value: 1 },
      penalty: { label: "Penalty, over the mean eigenvalue", min: 0.001, max: 100, log: true, value: 0.3 },
      n: { label: "Number of labelled states n", min: 16, max: 4000, log: true, value: 200 },
    },
    pictures: ["Error against the penalty: a solid line for the states as they are, a dashed one for whitened states"],
    draw({ decay, block, penalty, n }) {
      const size = Math.round(n);
      const { at, path, frame } = axes([0.001, 0.01, 0.1, 1, 10, 100], [0, 0.5, 1], ["penalty", "error / variance of the target"]);
      const curves = [decay, 0].map((a) => PENALTIES.map((k) => [k, error(a, block, k, size)]));
      const [raw, white] = [decay, 0].map((a) => error(a, block, penalty, size));
      const [bestRaw, bestWhite] = curves.map((points) => Math.min(...points.map((point) => point[1])));
      const marks = [[raw, "mean"], [white, "other"]].map(([e, kind]) => { const [x, y] = at([penalty, e]); return `<circle class="${kind}" cx="${x}" cy="${y}" r="5"/>`; });
      return [`${frame}<path class="first" d="${path(curves[0])}"/><path class="second" d="${path(curves[1])}"/>${marks.join("")}`
        + text(60, 30, "solid: as they are, dashed: whitened"),
        `At this penalty: error ${shown(raw)} as they are, ${shown(white)} whitened: ${better(raw, white)}. `
        + `Each at its best penalty: ${shown(bestRaw)} and ${shown(bestWhite)}: ${better(bestRaw, bestWhite)}.`];
    },
  });
})();
