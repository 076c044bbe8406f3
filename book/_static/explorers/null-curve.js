// What an isotropic cloud of n points in d dimensions scores, and where the reader's own score lies.
(() => {
  const { isoScore, isoScoreCap, isoScoreNull, isotropicBand, populationPR } = isonumMath;
  const { axes, shown, text } = isonumDraw;
  const SIZES = [10, 100, 1000, 10000, 100000];

  // In words: whether n points can tell this cloud from a round one, and which Gaussian law would score so.
  function verdict(n, d, score) {
    const [low, high] = isotropicBand(n, d), cap = isoScoreCap(n, d);
    if (score > cap + 0.0005) return `No ${n} points in ${d} dimensions score more than ${cap.toFixed(3)}: check n and d.`;
    const law = Math.min(populationPR(1 + score * (d - 1), n), d);
    const behind = `A Gaussian law that scores ${score} with ${n} points has itself IsoScore ${isoScore(law, d).toFixed(3)}: ${law.toFixed(1)} of ${d} directions.`;
    if (score > high) return `Above what a Gaussian cloud without structure scores: rows that are spread more evenly than chance would.`;
    return score < low ? `Not isotropic. ${behind}` : `${n} points cannot tell this cloud from an isotropic one.`;
  }
  isonumMath.verdict = verdict;

  explore("null-curve", {
    controls: {
      n: { label: "Number of points n", min: 4, max: 100000, step: 1, value: 500, log: true, exact: true },
      d: { label: "Dimensions d", min: 2, max: 8192, step: 1, value: 768, log: true, exact: true },
      score: { label: "Your IsoScore", min: 0, max: 1, step: 0.001, value: 0.3, exact: true },
    },
    pictures: ["IsoScore of an isotropic cloud against the number of points, its cap, and your score as a diamond"],
    draw({ n, d, score }) {
      const { at, path, frame } = axes([4, ...SIZES], [0, 0.5, 1], ["number of points n", "IsoScore"]);
      const sizes = Array.from({ length: 101 }, (_, i) => Math.max(4, 4 * 25000 ** (i / 100)));
      const [x, y] = at([n, score]), [u, v] = at([n, isoScoreNull(n, d)]);
      const lines = [[isoScoreCap, "cap"], [isoScoreNull, "first"]].map(([law, kind]) => `<path class="${kind}" d="${path(sizes.map((m) => [m, law(m, d)]))}"/>`);
      const [low, high] = isotropicBand(n, d).map((s) => s.toFixed(3));
      return [`${frame}${lines.join("")}<circle class="mean" cx="${u}" cy="${v}" r="4"/><path class="yours" d="M${x},${y - 7}l7,7l-7,7l-7,-7z"/>`
        + text(x > 250 ? x - 12 : x + 12, y + 4, "yours", x > 250 ? 'text-anchor="end"' : ""),
        `An isotropic Gaussian cloud scores ${isoScoreNull(n, d).toFixed(3)}, and 95 % of them between ${low} and ${high}. Yours, ${score}: ${verdict(n, d, score)}`];
    },
  });
})();
