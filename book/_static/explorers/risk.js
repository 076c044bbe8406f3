// How much read-outs err: theory/readout.py of the core, which says how and why, held to it to 1e-9.
(() => {
  const { range, sum } = isonumMath;
  // Complex numbers are pairs.
  const plus = ([a, b], [c, d]) => [a + c, b + d];
  const times = ([a, b], [c, d]) => [a * c - b * d, a * d + b * c];
  const over = (x, [c, d]) => times(x, [c / (c * c + d * d), -d / (c * c + d * d)]);

  // A read-out is a sum of ridges.
  const ridge = (penalty) => ({ weights: [[1, 0]], penalties: [[penalty, 0]] });
  function earlyStopped(time, nodes = 16) {
    const parts = range(nodes).map((j) => {
      const angle = Math.PI * ((2 * j + 1) / nodes - 1), cot = 1 / Math.tan(0.6407 * angle);
      const [re, im] = [nodes * (0.5017 * angle * cot - 0.6122), nodes * 0.2645 * angle];
      const slope = [0.5017 * cot - 0.5017 * 0.6407 * angle * (1 + cot ** 2), 0.2645];
      return [over(times([Math.exp(re) * Math.cos(im), Math.exp(re) * Math.sin(im)], slope), [re, im]), [re / time, im / time]];
    });
    const total = parts.map(([weight]) => weight).reduce(plus);
    return { weights: parts.map(([weight]) => over(weight, total)), penalties: parts.map((part) => part[1]) };
  }

  // Expected squared error, noise included, of a read-out of n states: spectrum l, power c^2 of the target along each.
  function spectralRisk(l, power, noise, n, { weights, penalties }) {
    const left = penalties.map((penalty) => {
      let k = plus(penalty, [sum(l) / n, 0]);
      for (let i = 0, moved = Infinity; i < 5000 && moved > 1e-13 * Math.max(...l); i++) {
        const next = l.map((x) => over([x * k[0] / n, x * k[1] / n], [x + k[0], k[1]])).reduce(plus, penalty);
        moved = Math.hypot(next[0] - k[0], next[1] - k[1]);
        k = next;
      }
      return l.map((x) => over(k, [x + k[0], k[1]]));
    });
    return sum(left.flatMap((p, i) => left.slice(i).map((q, j) => {
      let [a, b, c, d] = [noise, 0, 1, 0]; // a + b i over c + d i
      for (let k = 0; k < l.length; k++) {
        const [[x, y], [u, v]] = [p[k], q[k]];
        a += power[k] * (x * u - y * v);
        b += power[k] * (x * v + y * u);
        c -= ((1 - x) * (1 - u) - y * v) / n;
        d += ((1 - x) * v + y * (1 - u)) / n;
      }
      return (j ? 2 : 1) * times(times(weights[i], weights[i + j]), over([a, b], [c, d]))[0];
    })));
  }

  // What a read-out without centring meets: the eigenvalues of diag(l) + mean mean^T, by Jacobi's rotations, the power of
  // a centred target along each, averaged over the signs of its coefficients, and the part that lies along none.
  function uncentred(l, mean, power) {
    const m = l.map((x, i) => mean.map((b, j) => mean[i] * b + (i === j ? x : 0)));
    const v = l.map((_, i) => l.map((_, j) => +(i === j)));
    for (let sweep = 0; sweep < 12; sweep++) for (const p of range(l.length)) for (let q = p + 1; q < l.length; q++) {
      if (Math.abs(m[p][q]) <= 1e-16 * Math.sqrt(m[p][p] * m[q][q])) continue;
      const angle = Math.atan((2 * m[p][q]) / (m[q][q] - m[p][p])) / 2, c = Math.cos(angle), s = Math.sin(angle);
      for (const x of [...m, ...v]) [x[p], x[q]] = [c * x[p] - s * x[q], s * x[p] + c * x[q]];
      for (const j of range(l.length)) [m[p][j], m[q][j]] = [c * m[p][j] - s * m[q][j], s * m[p][j] + c * m[q][j]];
    }
    const spectrum = m.map((row, i) => row[i]);
    const found = spectrum.map((rho, k) => sum(l.map((x, i) => v[i][k] ** 2 * x * power[i])) / rho);
    return { spectrum, power: found, missed: sum(power) - sum(found) };
  }

  Object.assign(isonumMath, { earlyStopped, ridge, spectralRisk, uncentred });
})();
