// Where a cloud sits and how it is stretched: what either moves of two scores and of three read-outs.
(() => {
  const { earlyStopped, isoScore, meanCosineOfLaw, normals, participationRatio, powerLaw, ridge, spectralRisk, uncentred } = isonumMath;
  const { bars, shown, text } = isonumDraw;
  const [D, N, NOISE, PENALTY, STEPS] = [16, 40, 0.25, 0.3, 30]; // the target has variance 1, noise comes on top

  // Mean cosine, IsoScore, and the errors as shares of the target's variance.
  function halves(offset, decay, target) {
    const l = powerLaw(D, decay), mean = l.map(() => offset), power = l.map((x) => (target === "even" ? 1 : x) / D);
    const raw = uncentred(l, mean, power), stopped = earlyStopped(STEPS / Math.max(...raw.spectrum));
    const errors = [...[0, PENALTY].map((k) => spectralRisk(l, power, NOISE, N, ridge(k))), spectralRisk(raw.spectrum, raw.power, NOISE + raw.missed, N, stopped)];
    return [meanCosineOfLaw(mean, l), isoScore(participationRatio(l), D), ...errors.map((x) => x / (1 + NOISE))];
  }
  isonumMath.halves = halves;

  const POINTS = normals(160);
  const WORDS = ["mean cosine", "IsoScore", "error: least squares", "error: ridge", "error: gradient descent, states not centred"];
  const KINDS = ["mean", "spectral", "ink", "ink", "ink"];
  explore("two-halves", {
    controls: {
      offset: { label: "Offset of the mean", min: 0, max: 2, step: 0.05, value: 0 },
      decay: { label: "Decay of the spectrum", min: 0, max: 3, step: 0.05, value: 0 },
      target: { label: "Where the target lies", options: { even: "in all directions alike", strong: "where the variance is" } },
    },
    pictures: [["Cloud of points, its strongest direction against its weakest", 240], ["Bars of the five numbers in the sentence below; marks show them for the round, centred cloud", 240]],
    draw({ offset, decay, target }) {
      const now = halves(offset, decay, target), first = halves(0, 0, target), l = powerLaw(D, decay);
      const dots = POINTS.map(([x, y]) => [150 + 16 * (offset + x * Math.sqrt(l[0])), 150 - 16 * (offset + y * Math.sqrt(l[D - 1]))]);
      const cloud = `<path d="M0,150H340M150,20V225"/>${dots.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="2.6"/>`).join("")}`;
      const [cosine, score, ...errors] = now.map(shown);
      return [cloud + text(338, 234, "strongest direction →", true) + text(110, 12, "↑ weakest direction"),
        bars(WORDS.map((words, i) => [words, now[i], KINDS[i], first[i]]), 20, 46),
        `Mean cosine ${cosine}, IsoScore ${score}. Error over the variance of the target: least squares ${errors[0]}, ridge ${errors[1]}, `
        + `gradient descent ${errors[2]}. For the round, centred cloud (marks): ${first.slice(2).map(shown).join(", ")}.`];
    },
  });
})();
