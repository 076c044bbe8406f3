// Where a cloud sits and how it is stretched: what each moves of two scores and of three read-outs.
(() => {
  const { earlyStopped, isoScore, meanCosineOfLaw, normals, participationRatio, powerLaw, ridge, spectralRisk, uncentred } = isonumMath;
  const { bars, shown, text } = isonumDraw;
  const [D, N, NOISE, PENALTY, STEPS] = [16, 40, 0.25, 0.3, 30];

  // Everything printed, for one setting. The target has variance 1, and noise of variance 1/4 comes on top.
  function numbers(offset, decay, target) {
    const l = powerLaw(D, decay), mean = l.map(() => offset);
    const power = l.map((x) => (target === "even" ? 1 : x) / D);
    const raw = uncentred(l, mean, power);
    const errors = [
      spectralRisk(l, power, NOISE, N, ridge(0)),
      spectralRisk(l, power, NOISE, N, ridge(PENALTY)),
      spectralRisk(raw.spectrum, raw.power, NOISE + raw.missed, N, earlyStopped(STEPS / Math.max(...raw.spectrum))),
    ];
    return [meanCosineOfLaw(mean, l), isoScore(participationRatio(l), D), ...errors.map((x) => x / (1 + NOISE))];
  }

  const place = (x, y) => [120 + 24 * x, 150 - 24 * y].map((z) => z.toFixed(1));

  function cloud(l, offset) {
    const dots = normals(160).map(([x, y]) => place(offset + x * Math.sqrt(l[0]), offset + y * Math.sqrt(l[D - 1])));
    return `<path d="M0,150H340M120,20V240"/>${dots.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="2.6" class="open"/>`).join("")}`
      + `${text(336, 144, "strongest direction", 'text-anchor="end"')}${text(126, 30, "weakest direction")}`;
  }

  const WORDS = ["mean cosine", "IsoScore", "error, least squares", "error, ridge", "error, gradient descent on uncentred states"];
  const KINDS = ["mean", "spectral", "ink", "ink", "ink"];
  explore("two-halves", {
    controls: {
      offset: { label: "Offset: how far the mean is from zero", min: 0, max: 2, step: 0.05, value: 0 },
      decay: { label: "Decay: how uneven the spectrum is", min: 0, max: 3, step: 0.05, value: 0 },
      target: { label: "Where the target lies", options: { even: "in all directions alike", strong: "in strong directions, as the variance" } },
    },
    pictures: ["Cloud of points: its strongest direction against its weakest", "Bars of the five numbers that the sentence below names; a mark shows each for the round, centred cloud"],
    draw({ offset, decay, target }) {
      const now = numbers(offset, decay, target), before = numbers(0, 0, target);
      const [cosine, score, ...errors] = now.map(shown);
      return [cloud(powerLaw(D, decay), offset), bars(WORDS.map((words, i) => [words, now[i], KINDS[i], before[i]])),
        `Mean cosine ${cosine}, IsoScore ${score}. Error as a share of the target's variance: least squares ${errors[0]}, `
        + `ridge ${errors[1]}, gradient descent ${errors[2]}; for the round, centred cloud ${before.slice(2).map(shown).join(", ")}.`];
    },
  });
  isonumMath.halves = numbers;
})();
