// What an isotropic cloud of n points in d dimensions scores, and where the reader's own score lies.
(() => {
  const { isoScore, isoScoreCap, isoScoreNull, isotropicBand, populationPR, range } = isonumMath;
  const { axes, text } = isonumDraw;

  function verdict(n, d, score) {
    const [low, high] = isotropicBand(n, d), cap = isoScoreCap(n, d), law = Math.min(populationPR(1 + score * (d - 1), n), d);
    if (score > cap + 0.0005) return `No ${n} points in ${d} dimensions score above ${cap.toFixed(3)}: check n and d.`;
    if (score > high) return "More even than chance: these points are not independent draws.";
    if (score >= low) return `${n} points cannot tell this cloud from an isotropic one.`;
    return `This is not isotropic: if the points are Gaussian, their law has IsoScore ${isoScore(law, d).toFixed(3)} (${law.toFixed(1)} of ${d} directions).`;
  }
  isonumMath.verdict = verdict;

  explore("null-curve", {
    controls: {
      n: { label: "Number of points n", min: 4, max: 100000, step: 1, value: 500, log: true },
      d: { label: "Dimensions d", min: 2, max: 10000, step: 1, value: 768, log: true },
      score: { label: "Your IsoScore", min: 0, max: 1, step: 0.001, value: 0.3 },
    },
    pictures: [["IsoScore of an isotropic cloud and its cap against the number of points, with your score as a diamond", 240]],
    draw({ n, d, score }) {
      const { at, path, frame } = axes([4, 10, 100, 1000, 10000, 100000], [0, 0.5, 1], ["number of points n", "IsoScore"]);
      const sizes = range(101).map((i) => 4 * 25000 ** (i / 100)), side = n > 3000;
      const curves = [[isoScoreCap, "cap"], [isoScoreNull, "first"]].map(([law, kind]) => `<path class="${kind}" d="${path(sizes.map((m) => [m, law(m, d)]))}"/>`);
      const [x, y] = at([n, score]), [u, v] = at([n, isoScoreNull(n, d)]), [low, high] = isotropicBand(n, d).map((s) => s.toFixed(3));
      return [`${frame}${curves.join("")}<circle class="mean" cx="${u}" cy="${v}" r="4.5"/><path class="mark" d="M${x},${y - 6}l6,6l-6,6l-6,-6z"/>`
        + text(side ? x - 12 : x + 12, y + 4, "yours", side) + text(u + 10, v > 150 ? v - 14 : v + 16, Math.abs(y - v) > 30 ? "isotropic" : "") + text(at([d / 3, 0.5])[0], at([d / 3, 0.33])[1], "cap", true),
        `An isotropic Gaussian cloud of this size scores ${isoScoreNull(n, d).toFixed(3)}; 95 of 100 lie between ${low} and ${high}. Yours is ${score}. ${verdict(n, d, score)}`];
    },
  });
})();
