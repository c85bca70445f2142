// ntxent.diagnosis: from a loss to its verdict, its certificates and its sentences. Thresholds,
// conventions, sentences and refusals are the library's own, from the page's data.

const Diagnosis = (() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const own = page.diagnosis || {}, titles = page.variants || {};

  // --- numbers as Python prints them: ties go to the even digit ---

  function fixed(x, digits) {
    const shown = x.toFixed(digits);
    const tail = Math.abs(x).toFixed(Math.min(100, digits + 40)).split(".")[1].slice(digits);
    if (!/^50*$/.test(tail) || Math.abs(x) >= 2 ** 52) return shown;
    if (Number(shown.at(-1)) % 2 === 0) return shown;
    return (x - Math.sign(x) * 10 ** -digits / 2).toFixed(digits);
  }

  function general(x, precision = 6) {
    if (x === 0) return "0";
    const exponent = Number(x.toExponential(precision - 1).split("e")[1]);
    const strip = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
    if (exponent >= -4 && exponent < precision) return strip(fixed(x, precision - 1 - exponent));
    const [digits, power] = x.toExponential(precision - 1).split("e");
    return `${strip(digits)}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }

  // --- texts with {name} or {name:format}, of Python's formats those in use ---

  function format(value, how) {
    const [, digits, kind] = how.match(/^(?:\.(\d+))?([gf%])$/);
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    if (kind === "g") return general(value, Number(digits || 6));
    return kind === "f" ? fixed(value, Number(digits)) : `${fixed(100 * value, Number(digits))}%`;
  }

  const fill = (text, facts) =>
    text.replace(/\{(\w+)(?::([^}]+))?\}/g, (_, name, how) => (how ? format(facts[name], how) : facts[name]));

  const holds = (name, facts) => (name.startsWith("not ") ? !facts[name.slice(4)] : Boolean(facts[name]));

  // --- verdict ---

  const tolerance = (limit, t) =>
    own.decimals + own.bfloat16 * Math.abs(limit) + (4 * own.float32) / t;

  function place(loss, limits, t) {
    const { chance, floor, ceiling, scale } = limits;
    if (chance === 0) return ["degenerate", null];
    const span = chance - floor;
    const beyond = (end) => scale * tolerance(end / scale, t);
    const below = beyond(floor), above = ceiling === Infinity ? Infinity : beyond(ceiling);
    const band = Math.max(own.at_chance * span, scale * own.decimals);
    // The bounds of Python's comparisons: NaN never passes one.
    const rungs = [
      [floor - below, "impossible"],
      [Math.min(floor + own.at_floor * span, chance - band), "at_floor"],
      [chance - band, "learning"],
      [chance + band, "at_chance"],
      [ceiling + above, "above_chance"],
      [Infinity, "impossible"],
    ];
    return [rungs.find(([top]) => loss <= top)[1], span > 0 ? (loss - floor) / span : null];
  }

  // --- other conventions ---

  const times = ({ chance, floor, ceiling, scale }, factor) => ({
    chance: factor * chance, floor: factor * floor, ceiling: factor * ceiling, scale: factor * scale,
  });
  const limitsOf = (s) => 
    Bounds.limits(s.variant, s.n, s.t, s.queue, s.d, s.negatives || 0, s.views || 2);
  const plain = (s) => (s.views || 2) === 2 && !s.negatives;
  const logaddexp = (a, b) => a + Bounds.softplus(b - a);

  function changed(stated, change) {
    const { n, t } = stated, row = titles[stated.variant];
    const { divide, multiply } = change;
    if (divide * multiply > 1 && row.queued) return null;
    if (divide > 1 && (n % divide || n <= divide)) return null;
    if (change.negatives && row.theorem !== 12) return null;
    if (n * multiply > 2 ** 53 || (change.inverted && !(t >= 1e-3 && t <= 1e3))) return null;
    const one = { ...stated, n: (n / divide) * multiply };
    if (change.negatives) one.negatives = change.negatives;
    if (change.variant !== null) {
      Object.assign(one, { views: 2, negatives: 0, variant: change.variant, queue: change.queue });
    }
    if (change.temperature !== null) one.t = change.temperature;
    if (change.inverted) one.t = 1 / t;
    let factor = change.anchors * n || 1;
    if (change.base !== null) factor = 1 / Math.log(change.base);
    let limits = times(limitsOf(one), factor);
    if (change.denominator !== null) limits = denominator(change.denominator, stated, limits);
    if (limits === null) return null;
    const words = fill(change.words, {
      n: one.n, temperature: one.t, queue: one.queue, stated: t,
      candidates: 2 * n, anchors: change.anchors * n, base: change.base,
      negatives: change.negatives, hard: n * (change.negatives + 1),
    });
    return { words, limits, t: one.t };
  }

  function denominator(kind, stated, limits) {
    if (kind === "unnormalised") {
      return stated.variant === "dcl" ? null : { ...limits, floor: 0, ceiling: Infinity };
    }
    let nats = times(limits, 1 / limits.scale);
    let change;
    if (kind === "with_self") {
      if (titles[stated.variant].theorem !== 14 || !plain(stated)) return null;
      const own = { chance: 0, floor: 0, ceiling: 2 / stated.t };
      change = (end) => logaddexp(nats[end], own[end]);
    } else {
      if (["sup_con", "dcl"].includes(stated.variant) || !plain(stated)) return null;
      nats = times(limitsOf({ ...stated, d: null }), 1 / limits.scale);
      if (!(nats.floor > 0)) return null;
      change = (end) => nats[end] + Math.log(-Math.expm1(-nats[end]));
    }
    const [chance, floor, ceiling] = ["chance", "floor", "ceiling"].map(change);
    return times({ chance, floor, ceiling, scale: 1 }, limits.scale);
  }

  function alternatives(loss, setting, limits, verdict) {
    const key = (l) => [l.chance, l.floor, l.ceiling].map((v) => v.toPrecision(12)).join();
    const distinct = new Map();
    for (const change of own.changes) {
      const one = changed(setting, change);
      if (one === null) continue;
      const known = distinct.get(key(one.limits));
      if (key(one.limits) === key(limits)) continue;
      const words = known ? `${known.words}, or ${one.words}` : one.words;
      distinct.set(key(one.limits), { ...one, words });
    }
    const hit = (chance) => Math.abs(loss - chance) <= own.decimals;
    let found = [];
    for (const { words, limits: other, t } of distinct.values()) {
      const [placed, position] = place(loss, other, t);
      if (placed === "impossible" || placed === "degenerate") continue;
      const { chance, floor, ceiling } = other;
      found.push({ convention: words, verdict: placed, position, floor, chance, ceiling, exact: hit(chance) });
    }
    const unexplained = verdict === "impossible" || (verdict === "degenerate" && !hit(0));
    if (!unexplained) found = hit(limits.chance) ? [] : found.filter((a) => a.exact);
    const rank = (a) => 4 * !a.exact + 2 * (a.ceiling === Infinity) + (a.verdict === "above_chance");
    return found.sort((a, b) => rank(a) - rank(b));
  }

  // --- from a loss to its diagnosis ---

  const known = (x) => x !== null && x !== undefined;

  // s = {loss, n, t, variant, queue, d, views, negatives, positive, negative}; what is not known is null.
  function diagnose(s) {
    const setting = { n: s.n, t: s.t, variant: s.variant, queue: s.queue ?? null, d: s.d ?? null,
      views: s.views ?? 2, negatives: s.negatives ?? 0 };
    const limits = limitsOf(setting);
    const loss = nonNegative(s.loss, s.variant, limits, s.t);
    let [verdict, position] = place(loss, limits, s.t);
    const measured = known(s.negative) ? s.negative : s.positive;
    if (verdict === "at_chance" && known(measured) && measured >= own.collapsed) verdict = "collapsed";
    if (verdict !== "impossible" && contradicted(loss, s, limits)) verdict = "impossible";
    const report = { ...s, ...limits, loss, verdict, position };
    [report.random, report.spread] = random(s, limits);
    report.alone = report.interval = report.top1 = report.gradient = null;
    if (verdict !== "impossible" && verdict !== "degenerate") certify(report, limits);
    report.alternatives = alternatives(loss, setting, limits, verdict);
    report.sentences = sentences(report);
    return report;
  }

  function nonNegative(loss, variant, limits, t) {
    if (!Number.isFinite(loss)) throw new Error(fill(own.refusals.nonfinite, { loss }));
    if (limits.floor >= 0 && loss < -limits.scale * tolerance(0, t)) {
      throw new Error(fill(own.refusals.negative_loss, { loss, variant }));
    }
    return loss;
  }

  function random(s, limits) {
    const { n, t, d } = s;
    if (!known(d) || !plain(s)) return [null, null];
    const kernel = Bounds.logKernelMean(d, t), exponent = Bounds.logKernelMean(d, t / 2) - 2 * kernel;
    let variance = 1 / (t * t * n * d);
    if (n > 1 && exponent < 700) variance += (2 * Math.expm1(exponent)) / (2 * n * (2 * n - 1));
    return [limits.chance + limits.scale * kernel, limits.scale * Math.sqrt(variance)];
  }

  function contradicted(loss, s, limits) {
    if (!own.paired.includes(s.variant) || s.n === 1 || !plain(s)) return false;
    let lowest = 0, highest = Infinity;
    if (known(s.positive)) {
      lowest = Bounds.floor(s.n, s.t, s.d ?? null, s.positive);
      highest = Bounds.upperBound(s.n, s.t, s.positive);
    }
    if (known(s.negative)) {
      const low = -(1 + (s.positive ?? 1)) / (2 * s.n - 2), high = (1 + (s.positive ?? 1)) / 2;
      if (s.negative < low - 1e-5 || s.negative > high + 1e-5) {
        throw new Error(fill(own.refusals.negatives, { negative: s.negative, low, high }));
      }
      lowest = Math.max(lowest, Bounds.measuredFloor(s.n, s.t, s.positive ?? 1, s.negative));
    }
    const nats = loss / limits.scale, rounding = (2 * own.bfloat16) / s.t;
    return !(
      lowest - rounding - tolerance(lowest, s.t) <= nats &&
      nats <= highest + rounding + tolerance(highest, s.t)
    );
  }

  function certify(report, limits) {
    const { n, t, variant, negative } = report;
    if (variant === "dcl") return;
    const floor = limits.floor / limits.scale;
    let nats = report.loss / limits.scale;
    if (nats <= floor) nats = floor + tolerance(floor, t);
    if (own.paired.includes(variant) && plain(report)) {
      let [low, high] = (report.alone = Bounds.similarityInterval(nats, n, t));
      if (known(negative)) {
        low = Math.max(low, Math.min(negative + Bounds.similarityGap(nats, n, t), high));
      }
      report.interval = [low, high];
    }
    report.top1 = Bounds.top1Share(nats);
    report.gradient = limits.scale * Bounds.gradientBound(nats, t);
  }

  // --- sentences ---

  function facts(r) {
    const fields = {
      loss: r.loss, batch_size: r.n, temperature: r.t, variant: r.variant, queue: r.queue ?? null,
      dim: r.d ?? null, floor: r.floor, chance: r.chance, ceiling: r.ceiling, random: r.random,
      random_spread: r.spread, views: r.views ?? 2, negatives: r.negatives ?? 0, normalized: true,
    };
    const [low, high] = r.alone || [-1, 1];
    const [low_measured] = r.interval || [-1, 1];
    const hits = r.alternatives.filter((a) => a.exact).slice(0, own.named);
    const kind = fields.views !== 2 ? "_views" : fields.negatives ? "_negatives" : fields.queue === null ? "" : "_queue";
    const measured = Object.entries({ positives: r.positive, negatives: r.negative });
    return {
      ...fields,
      stated: fill(own.phrases[`stated${kind}`], fields),
      within: r.floor <= r.loss && r.loss <= r.ceiling,
      below_floor: r.loss < r.floor,
      named: r.alternatives.slice(0, own.named).map((a) => a.convention).join("; "),
      others: Math.max(0, r.alternatives.length - own.named),
      hits: hits.map((a) => fill(own.phrases.hit, a)).join("; "),
      low_measured, proves_measured: low_measured > low,
      // Of a run's course the explorer knows nothing.
      troubled: false, finished: false, recovers: false,
      flat: false, rising: false, fell_then_rose: false, diverged: false,
      low, high, proves_low: low > -1, proves_high: high < 1,
      same_views: (r.positive ?? 0) >= own.same_views,
      done: 1 - (r.position || 0),
      span: r.chance - r.floor, unresolved: r.chance - r.floor < own.unresolved,
      measured: measured.filter(([, similarity]) => known(similarity))
        .map(([name, similarity]) => fill(own.phrases[name], { similarity })).join(", "),
      like_random: r.random !== null &&
        r.loss <= r.random + own.at_chance * (r.random - r.floor) + own.draws * r.spread,
      zero: r.loss === 0 && r.chance > 0,
    };
  }

  function sentences(report) {
    const found = facts(report);
    const lines = own.sentences[report.verdict].filter(({ when }) => when.every((name) => holds(name, found)));
    return lines.map(({ text }) => fill(text, found));
  }

  return { diagnose, fixed, general };
})();
