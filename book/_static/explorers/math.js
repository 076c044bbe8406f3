// Formulas of the explorers, pure functions of numbers and lists, held to the core to 1e-9 by tests/test_explorers.py.
// Plain scripts and not modules, which no browser loads from a file:// page.
(() => {
  const sum = (x) => x.reduce((a, b) => a + b, 0);
  const dot = (x, y) => sum(x.map((a, i) => a * y[i]));
  const range = (count) => [...Array(count).keys()];

  // Eigenvalues i^-decay of trace d, and how many directions they stand for.
  function powerLaw(d, decay) {
    const l = range(d).map((i) => (i + 1) ** -decay);
    const scale = d / sum(l);
    return l.map((x) => x * scale);
  }
  const participationRatio = (l) => sum(l) ** 2 / dot(l, l);
  const isoScore = (pr, d) => (pr - 1) / (d - 1);

  // The sampling law of n Gaussian points, its inverse (Infinity where no law shows as much), null, cap, and where 95 %
  // of isotropic clouds score: d/PR - 1 is (d + 1)/(n - 1) on average, with deviation 2/(n - 1) (Ledoit and Wolf 2002).
  const sampledPR = (pr, n) => (pr + 2 / (n - 1)) / (1 + (1 + pr) / (n - 1));
  function populationPR(seen, n) {
    const left = 1 - seen / (n - 1);
    return left > 0 ? (seen * (1 + 1 / (n - 1)) - 2 / (n - 1)) / left : Infinity;
  }
  const isoScoreNull = (n, d) => (n - 2) / (n + d);
  const isoScoreCap = (n, d) => (Math.min(n - 1, d) - 1) / (d - 1);
  const isotropicBand = (n, d) => [-3.92, 3.92].map((z) => Math.max(0, isoScore((d * (n - 1) + 2) / (n + d - z), d)));

  // Expected cosine of two draws from N(mean, diag(l)): |E x/|x||^2, with 1/|x| as an integral of exp(-u^2 |x|^2), u = sinh s.
  function meanCosineOfLaw(mean, l) {
    const total = mean.map(() => 0);
    for (let s = 0; s < 9; s += 0.02) {
      const wide = l.map((x) => 1 + 2 * Math.sinh(s) ** 2 * x);
      const exponent = -(Math.sinh(s) ** 2) * sum(wide.map((x, i) => mean[i] ** 2 / x));
      const height = (Math.cosh(s) * Math.exp(exponent)) / Math.sqrt(wide.reduce((a, b) => a * b)) * (s ? 1 : 0.5);
      mean.forEach((m, i) => { total[i] += (height * m) / wide[i]; });
    }
    return dot(total, total) * (0.04 * 0.04) / Math.PI;
  }

  // Normal deviates that fill the plane evenly: a picture that is the same at every visit.
  const normals = (count) => range(count).map((i) => {
    const [u, v] = [0.7548776662, 0.569840291].map((step) => (0.5 + step * (i + 1)) % 1);
    return [Math.cos, Math.sin].map((turn) => turn(2 * Math.PI * v) * Math.sqrt(-2 * Math.log(1 - u)));
  });

  // Of points in rows.
  function meanCosine(rows) {
    const n = rows.length;
    const total = rows[0].map((_, i) => sum(rows.map((x) => x[i] / Math.hypot(...x))));
    return (dot(total, total) - n) / (n * (n - 1));
  }
  function isoScoreOf(rows) {
    const mean = rows[0].map((_, i) => sum(rows.map((x) => x[i])) / rows.length);
    const c = mean.map((a, i) => mean.map((b, j) => sum(rows.map((x) => (x[i] - a) * (x[j] - b)))));
    return isoScore(sum(c.map((row, i) => row[i])) ** 2 / sum(c.map((row) => dot(row, row))), mean.length);
  }

  // A head of rows w at a state h.
  function logPartition(w, h) {
    const z = w.map((row) => dot(row, h));
    const most = Math.max(...z);
    return most + Math.log(sum(z.map((x) => Math.exp(x - most))));
  }
  const probabilities = (w, h) => w.map((row) => Math.exp(dot(row, h) - logPartition(w, h)));

  // min Z / max Z over the circle of radius r, for rows in the plane: the best of 720 directions, then thirds.
  function partitionIsotropy(w, r) {
    const at = (angle) => logPartition(w, [r * Math.cos(angle), r * Math.sin(angle)]);
    const all = range(720).map((i) => at(i * Math.PI / 360));
    const end = (sign) => {
      const best = all.reduce((b, x, i) => (sign * x > sign * all[b] ? i : b), 0) * Math.PI / 360;
      let [low, high] = [best - Math.PI / 360, best + Math.PI / 360];
      for (let i = 0; i < 40; i++) {
        const third = (high - low) / 3;
        if (sign * at(low + third) < sign * at(high - third)) low += third; else high -= third;
      }
      return at((low + high) / 2);
    };
    return Math.exp(end(-1) - end(1));
  }

  globalThis.isonumMath = {
    dot, isoScore, isoScoreCap, isoScoreNull, isoScoreOf, isotropicBand, logPartition, meanCosine, meanCosineOfLaw,
    normals, participationRatio, partitionIsotropy, populationPR, powerLaw, probabilities, range, sampledPR, sum,
  };
})();
