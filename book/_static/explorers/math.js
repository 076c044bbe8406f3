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

  // Of n isotropic Gaussian points in d dimensions; the most that n points can score; where 95 % of isotropic clouds lie:
  // d/PR - 1 is about (d + 1)/(n - 1) with deviation 2/(n - 1) (Ledoit and Wolf 2002). The PR of the Gaussian law of
  // which n points show `seen`, Infinity where no law shows as much.
  const isoScoreNull = (n, d) => (n - 2) / (n + d);
  const isoScoreCap = (n, d) => (Math.min(n - 1, d) - 1) / (d - 1);
  const isotropicBand = (n, d) => [-3.92, 3.92].map((z) => Math.max(0, isoScore((d * (n - 1) + 2) / (n + d - z), d)));
  const populationPR = (seen, n) => (seen < n - 1 ? (seen * n - 2) / (n - 1 - seen) : Infinity);

  // Expected cosine of two draws from N(mean, diag(l)): |E x/|x||^2, with 1/|x| an integral of exp(-u^2 |x|^2), u = sinh s.
  function meanCosineOfLaw(mean, l) {
    const total = mean.map(() => 0);
    for (let s = 0; s < 9; s += 0.02) {
      const t = Math.sinh(s) ** 2, wide = l.map((x) => 1 + 2 * t * x);
      const fall = Math.exp(-t * sum(wide.map((x, i) => mean[i] ** 2 / x))) / Math.sqrt(wide.reduce((a, b) => a * b));
      mean.forEach((m, i) => { total[i] += (s ? 0.04 : 0.02) * Math.cosh(s) * fall * m / wide[i]; });
    }
    return dot(total, total) / Math.PI;
  }

  // Normal deviates that fill the plane evenly: a picture that is the same at every visit.
  const normals = (count) => range(count).map((i) => {
    const [u, v] = [0.7548776662, 0.569840291].map((step) => (0.5 + step * (i + 1)) % 1);
    return [Math.cos, Math.sin].map((turn) => turn(2 * Math.PI * v) * Math.sqrt(-2 * Math.log(1 - u)));
  });

  // Of points in rows.
  const columns = (rows) => rows[0].map((_, i) => rows.map((x) => x[i]));
  function meanCosine(rows) {
    const n = rows.length, total = columns(rows.map((x) => x.map((a) => a / Math.hypot(...x)))).map(sum);
    return (dot(total, total) - n) / (n * (n - 1));
  }
  function isoScoreOf(rows) {
    const centred = columns(rows).map((x) => x.map((a) => a - sum(x) / x.length));
    const c = centred.map((x) => centred.map((y) => dot(x, y)));
    return isoScore(sum(c.map((x, i) => x[i])) ** 2 / sum(c.map((x) => dot(x, x))), c.length);
  }

  // Of a head of rows w at a state h; and min Z / max Z over the circle of radius r, for rows in the plane.
  function logPartition(w, h) {
    const z = w.map((row) => dot(row, h)), most = Math.max(...z);
    return most + Math.log(sum(z.map((x) => Math.exp(x - most))));
  }
  const probabilities = (w, h) => w.map((row) => Math.exp(dot(row, h) - logPartition(w, h)));
  function partitionIsotropy(w, r) {
    const at = (angle) => logPartition(w, [r * Math.cos(angle), r * Math.sin(angle)]);
    const step = Math.PI / 180, all = range(360).map((i) => at(i * step));
    const end = (sign) => { // the best of 360 directions, then thirds of what lies about it
      const best = step * all.reduce((b, x, i) => (sign * x > sign * all[b] ? i : b), 0);
      let [low, high] = [best - step, best + step];
      for (const third of range(40).map((i) => (2 * step / 3) * (2 / 3) ** i)) {
        if (sign * at(low + third) < sign * at(high - third)) low += third; else high -= third;
      }
      return at(low);
    };
    return Math.exp(end(-1) - end(1));
  }

  globalThis.isonumMath = { dot, isoScore, isoScoreCap, isoScoreNull, isoScoreOf, isotropicBand, logPartition, meanCosine, meanCosineOfLaw,
    normals, participationRatio, partitionIsotropy, populationPR, powerLaw, probabilities, range, sum };
})();
