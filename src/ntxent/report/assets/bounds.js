// The formulas of ntxent.bounds. N pairs, temperature t, dimension d; losses in nats.

const Bounds = (() => {
  const GOLDEN = (1 + Math.sqrt(5)) / 2;
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const logExpm1 = (x) => x + Math.log(-Math.expm1(-x));
  const clip = (x, low, high) => Math.min(Math.max(x, low), high);

  const chance = (n) => Math.log(2 * n - 1);

  const chord = (n, t) => 1 / t + Math.log1p(Math.expm1(-2 / t) / (2 * n - 1)) / 2;

  const upperBound = (n, t, s) => chance(n) + chord(n, t) * (1 - s);

  function ceiling(n, t) {
    const worst = Math.max(softplus(2 / t), Math.LN2 + 2 / t / GOLDEN);
    return softplus(Math.log(n - 1) + worst);
  }

  const measuredFloor = (n, t, positive, negative) =>
    softplus(Math.log(2 * n - 2) + (negative - positive) / t);

  // log of 0F1(; d/2; 1/(4 t^2)), a series of positive terms, rescaled before it overflows.
  function logKernelMean(d, t) {
    const x = 1 / (4 * t * t), shrink = 2 ** -800;
    let term = 1, sum = 1, log = 0;
    for (let k = 1; term > 1e-18 * sum; k++) {
      term *= x / (k * (d / 2 + k - 1));
      sum += term;
      if (sum > 1e250) {
        term *= shrink;
        sum *= shrink;
        log += 800 * Math.LN2;
      }
    }
    return log + Math.log(sum);
  }

  const uniformityFloor = (n, t, d) =>
    logExpm1(Math.max(Math.log(2 * n) + logKernelMean(d, t) - 1 / t, Math.LN2));

  function floor(n, t, d = null, s = 1) {
    const bound = softplus(Math.log(2 * n - 2) - (s + (1 + s) / (2 * n - 2)) / t);
    return d === null ? bound : Math.max(bound, uniformityFloor(n, t, d));
  }

  const randomLoss = (n, t, d) => chance(n) + logKernelMean(d, t);

  const similarityGap = (loss, n, t) => t * (Math.log(2 * n - 2) - logExpm1(loss));

  function similarityInterval(loss, n, t) {
    const others = 2 * n - 2;
    const low = (others * similarityGap(loss, n, t) - 1) / (others + 1);
    const high = 1 - (loss - chance(n)) / chord(n, t);
    return [clip(low, -1, 1), clip(high, -1, 1)];
  }

  const top1Share = (loss) => Math.max(0, 1 - loss / Math.LN2);

  const gradientBound = (loss, t) => (-4 * Math.expm1(-loss)) / t;

  function position(loss, n, t, d = null) {
    const low = floor(n, t, d);
    return (loss - low) / (chance(n) - low);
  }

  // --- the rest of the family: chance, floor and ceiling in nats, and the factor they report ---

  const ntXent = (n, t, d) => [chance(n), floor(n, t, d), ceiling(n, t)];
  const infoNce = (n, t) => [
    Math.log(n),
    softplus(Math.log(n - 1) - n / (n - 1) / t),
    softplus(Math.log(n - 1) + 2 / t),
  ];
  const moco = (k, t) => [Math.log1p(k), softplus(Math.log(k) - 2 / t), softplus(Math.log(k) + 2 / t)];

  function decoupled(n, t) {
    const top = ceiling(n, t);
    return [Math.log(2 * n - 2), Math.log(2 * n - 2) - n / (n - 1) / t, logExpm1(top)];
  }

  // The variants of Theorem 12, 13 and 14, and the decoupled one with the floor of Theorem 6; their table is the library's, from the page's data.
  const SHAPES = { 6: decoupled, 12: infoNce, 13: moco, 14: ntXent };
  const page = JSON.parse(document.getElementById("page-data").textContent);

  // V views of each sample: V - 1 positives among VN - 1 candidates.
  function withViews(v, [level, low, high], n, t) {
    if (v === 2) return [level, low, high];
    const base = Math.log(v - 1), others = Math.log(v * (n - 1)) - n / (n - 1) / t;
    return [Math.log(v * n - 1), base + softplus(others - base), softplus(Math.log(v * n - 2) + 2 / t)];
  }

  function limits(variant, n, t, queue = null, d = null, negatives = 0, views = 2) {
    const { theorem, queued, scale: { times, over, power } } = page.variants[variant];
    const shape = SHAPES[theorem], scale = (t ** power * times) / over;
    const unit = n === 1 && !queued && !negatives ? 0 : scale;
    const [level, low, high] = negatives
      ? moco(n * (negatives + 1) - 1, t)
      : withViews(views, shape(queued ? queue : Math.max(n, 2), t, d), Math.max(n, 2), t);
    return { chance: unit * level, floor: unit * low, ceiling: unit * high, scale };
  }

  return {
    softplus, chance, upperBound, ceiling, measuredFloor, logKernelMean, uniformityFloor,
    floor, randomLoss, similarityGap, similarityInterval, top1Share, gradientBound, position, limits,
  };
})();
