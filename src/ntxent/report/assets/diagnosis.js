// ntxent.diagnosis: from a loss to its verdict, its certificates and its sentences. The thresholds
// and the lists of other conventions are the library's own, from the page's data.

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

  const number = (x) => general(x, 4);
  const percent = (x) => `${fixed(100 * x, 0)}%`;

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
  const limitsOf = (s) => Bounds.limits(s.variant, s.n, s.t, s.queue, s.d);
  const logaddexp = (a, b) => a + Bounds.softplus(b - a);

  function* conventions(setting) {
    const { n, t, variant } = setting;
    const stated = titles[variant];
    const of = (words, factor = 1, instead = {}) => {
      const changed = { ...setting, ...instead };
      return { words, limits: times(limitsOf(changed), factor), t: changed.t };
    };
    const reported = limitsOf(setting);
    const nats = times(reported, 1 / reported.scale);
    const changed = (words, [chance, floor, ceiling]) => ({
      words, limits: times({ chance, floor, ceiling, scale: 1 }, reported.scale), t,
    });
    for (const [name, row] of Object.entries(titles)) {
      if (!row.queued) yield of(`${own.factors[name] || row.title} (${name})`, 1, { variant: name, queue: null });
    }
    if (!stated.queued) {
      for (const ranks of own.ranks) {
        if (n % ranks === 0 && n > ranks) {
          yield of(`local negatives on ${ranks} ranks (N = ${n / ranks} each)`, 1, { n: n / ranks });
        }
      }
      if (n % 2 === 0 && n > 2) yield of(`N counts both views (${n / 2} pairs)`, 1, { n: n / 2 });
      for (const ranks of own.ranks) {
        if (n * ranks <= 2 ** 53) {
          yield of(`negatives gathered from ${ranks} ranks (N = ${n * ranks})`, 1, { n: n * ranks });
        }
      }
    }
    if (stated.theorem === 14) {
      const self = [logaddexp(nats.chance, 0), logaddexp(nats.floor, 0), logaddexp(nats.ceiling, 2 / t)];
      yield changed(`self not excluded (${2 * n} candidates)`, self);
    }
    for (const anchors of [n, 2 * n]) yield of(`sum over ${anchors} anchors instead of their mean`, anchors);
    for (const queue of own.queues) {
      yield of(`a queue of ${queue} negatives (moco)`, 1, { variant: "moco", queue });
    }
    for (const other of own.temperatures) {
      yield of(`temperature ${general(other)} instead of ${general(t)}`, 1, { t: other });
    }
    if (t >= 1e-3 && t <= 1e3) {
      yield of(`similarities times ${general(t)} instead of divided by it`, 1, { t: 1 / t });
    }
    for (const base of own.bases) yield of(`logarithm to base ${base}`, 1 / Math.log(base));
    if (nats.floor > 0) {
      const alone = ["chance", "floor", "ceiling"].map((end) => nats[end] + Math.log(-Math.expm1(-nats[end])));
      yield changed("the positive left out of the denominator (decoupled, DCL)", alone);
    }
    yield {
      words: "embeddings not normalised (no ceiling, floor 0)",
      limits: { ...reported, floor: 0, ceiling: Infinity }, t,
    };
  }

  function alternatives(loss, setting, limits, verdict) {
    const key = (l) => [l.chance, l.floor, l.ceiling].map((v) => v.toPrecision(12)).join();
    const distinct = new Map();
    for (const one of conventions(setting)) {
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
    const rank = (a) => 2 * !a.exact + (a.verdict === "above_chance");
    return found.sort((a, b) => rank(a) - rank(b));
  }

  // --- from a loss to its diagnosis ---

  const known = (x) => x !== null && x !== undefined;

  // s = {loss, n, t, variant, queue, d, positive, negative}; what is not known is null.
  function diagnose(s) {
    const setting = { n: s.n, t: s.t, variant: s.variant, queue: s.queue ?? null, d: s.d ?? null };
    const limits = limitsOf(setting);
    const loss = nonNegative(s.loss, s.variant, limits, s.t);
    let [verdict, position] = place(loss, limits, s.t);
    const told = known(s.negative) ? s.negative : s.positive;
    if (verdict === "at_chance" && known(told) && told >= own.collapsed) verdict = "collapsed";
    if (verdict !== "impossible" && contradicted(loss, s, limits)) verdict = "impossible";
    const report = { ...s, ...limits, loss, verdict, position };
    report.random = known(s.d) ? limits.chance + limits.scale * Bounds.logKernelMean(s.d, s.t) : null;
    report.interval = report.top1 = report.gradient = null;
    if (verdict !== "impossible" && verdict !== "degenerate") certify(report, limits);
    report.alternatives = alternatives(loss, setting, limits, verdict);
    report.sentences = [...SENTENCES[verdict](report)];
    return report;
  }

  function nonNegative(loss, variant, limits, t) {
    if (!Number.isFinite(loss)) {
      throw new Error(
        "A loss is a finite number; look for the first step with such a loss: exp overflows in " +
          "float16, a zero embedding cannot be normalised, a learning rate is too high.",
      );
    }
    if (loss < -limits.scale * tolerance(0, t)) {
      throw new Error(
        `The loss ${general(loss)} is negative, which ${variant} is not, for the positive is a ` +
          "candidate. Negative are losses whose denominator leaves the positive out (decoupled, " +
          "DCL), whose logarithm is missing, or that are a negated similarity (BYOL, SimSiam).",
      );
    }
    return loss;
  }

  function contradicted(loss, s, limits) {
    if (!own.paired.includes(s.variant) || s.n === 1) return false;
    let lowest = 0, highest = Infinity;
    if (known(s.positive)) {
      lowest = Bounds.floor(s.n, s.t, s.d ?? null, s.positive);
      highest = Bounds.upperBound(s.n, s.t, s.positive);
    }
    if (known(s.negative)) {
      const low = -(1 + (s.positive ?? 1)) / (2 * s.n - 2), high = (1 + (s.positive ?? 1)) / 2;
      if (s.negative < low - 1e-5 || s.negative > high + 1e-5) {
        throw new Error(
          `The mean negative cosine ${general(s.negative)} is not possible beside that of the ` +
            `positives: expected ${general(low)} to ${general(high)}; measure both on the same embeddings.`,
        );
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
    const floor = limits.floor / limits.scale;
    let nats = report.loss / limits.scale;
    if (nats <= floor) nats = floor + tolerance(floor, t);
    if (own.paired.includes(variant)) {
      let [low, high] = Bounds.similarityInterval(nats, n, t);
      if (known(negative)) {
        low = Math.max(low, Math.min(negative + Bounds.similarityGap(nats, n, t), high));
      }
      report.interval = [low, high];
    }
    report.top1 = Bounds.top1Share(nats);
    report.gradient = limits.scale * Bounds.gradientBound(nats, t);
  }

  // --- sentences ---

  const SAME_VIEWS = 0.9999;
  const NAMED = 3;
  const stated = (r) =>
    `${r.variant} with N = ${r.n}${known(r.queue) ? `, K = ${r.queue}` : ""}, τ = ${general(r.t)}`;

  function* certified(r) {
    if (!r.interval) return;
    const [low, high] = r.interval;
    const ends = [];
    if (low > -1) ends.push(`at least ${fixed(low, 3)}`);
    if (high < 1) ends.push(`at most ${fixed(high, 3)}`);
    if (ends.length) yield `It proves that the positive pairs have a mean cosine of ${ends.join(" and ")}.`;
  }

  function* sameViews(r) {
    if (known(r.positive) && r.positive >= SAME_VIEWS) {
      yield "The two views of every image agree perfectly: the augmentation may be missing, and " +
        "then the encoder learns next to nothing.";
    }
  }

  function* exactHit(r) {
    const hits = r.alternatives.filter((a) => a.exact);
    if (!hits.length) return;
    const words = hits.slice(0, NAMED).map((a) => `${a.convention}: ${fixed(a.chance, 4)}`).join("; ");
    yield "To three decimals it is the chance level of another convention, which is rarely an " +
      `accident: ${words}. Check whether that is what the code computes.`;
  }

  const names = (r) => r.alternatives.slice(0, NAMED).map((a) => a.convention).join("; ");

  const SENTENCES = {
    *impossible(r) {
      if (r.floor <= r.loss && r.loss <= r.ceiling) {
        yield `${stated(r)} can have a loss of ${number(r.loss)}, but not with the measured ` +
          "similarities: loss, N, τ and similarities do not belong to the same batch and convention.";
      } else {
        yield `No unit embeddings have a loss of ${number(r.loss)} under ${stated(r)}: its range is ` +
          `${number(r.floor)} to ${number(r.ceiling)}.`;
      }
      if (r.alternatives.length) {
        const others = r.alternatives.length - NAMED;
        const more = others > 0 ? `; and ${others} more, listed as alternatives` : "";
        yield `It is possible under: ${names(r)}${more}.`;
      }
      yield* exactHit(r);
      yield "Next: find out which of them the code computes, then ask again with those arguments.";
    },
    *at_floor(r) {
      if (r.loss < r.floor) yield "The value is below the floor by no more than logging rounds.";
      yield `Next to nothing is left to gain: no embeddings get below ${number(r.floor)} at N = ${r.n}, ` +
        `τ = ${general(r.t)}. This is not a failure to converge.`;
      yield* sameViews(r);
      yield* certified(r);
      yield* exactHit(r);
      yield "Next: judge the encoder by a linear or kNN probe, not by this loss. To give the loss " +
        "room: lower τ, raise N, or augment more strongly.";
    },
    *learning(r) {
      yield `Training works: it is ${percent(1 - (r.position || 0))} of the way down from chance, ` +
        `${number(r.chance)}, to the floor, ${number(r.floor)}.`;
      yield* sameViews(r);
      yield* certified(r);
      yield* exactHit(r);
      yield "Next: keep training. Compare this value with runs of the same N, τ and augmentation " +
        "only: across them neither the loss nor the position ranks encoders, a probe does " +
        "(docs/study.md). If it stays here, try a longer schedule or another learning rate.";
    },
    *at_chance(r) {
      const unresolved = r.chance - r.floor;
      yield `This is chance, ${number(r.chance)}: the embeddings tell the positive from the other ` +
        "candidates no better than guessing.";
      if (unresolved < 0.1) {
        yield `Mind that τ = ${general(r.t)} leaves only ${general(unresolved, 2)} between floor and ` +
          "chance: log more decimals, or lower τ.";
      }
      yield* exactHit(r);
      if (!known(r.positive) && !known(r.negative)) {
        yield "The loss alone cannot tell why: all embeddings equal (collapse), logits all near 0 " +
          "(normalised along the wrong axis), a wrong mask or pairing of positives, or a learning " +
          "rate so high that the encoder was destroyed. In the first steps it is normal.";
        yield "Next: measure the mean cosine of positives and of negatives. Both near 1: collapse. " +
          "Both near 0: logits or pairing. Positives clearly higher: the mask.";
      } else {
        yield "The measured similarities exclude collapse. Next: check that row i of both views is " +
          "the same image, that the mask keeps positives and drops self, that embeddings are " +
          "normalised along the last axis, and the learning rate.";
      }
    },
    *collapsed(r) {
      const measured = ["positive", "negative"].filter((name) => known(r[name]));
      const words = measured.map((name) => `${name}s ${fixed(r[name], 3)}`).join(", ");
      yield `Collapse: the loss is chance, ${number(r.chance)}, and the mean cosine is high (${words}): ` +
        "all embeddings point the same way.";
      yield "Likely causes: a learning rate too high or no warm-up, positives that are not pairs (the " +
        "views shuffled apart), dead units before the loss, too strong weight decay, a batch norm " +
        "that runs per view or in evaluation mode.";
      yield "Next: restart with a lower learning rate; a collapsed encoder has almost no gradient.";
    },
    *above_chance(r) {
      yield `Worse than guessing, ${number(r.chance)}: some negatives are more similar than their positives.`;
      yield* certified(r);
      yield* exactHit(r);
      if (r.random === null) {
        yield "Early in training at a low τ this is normal, since random embeddings have such a " +
          "loss. Give the dimension to compare.";
      } else if (r.loss <= r.random + own.at_chance * (r.random - r.floor)) {
        yield `Random embeddings in d = ${r.d} have about ${number(r.random)}: in the first steps ` +
          "such a loss is normal.";
      } else {
        yield `Even random embeddings in d = ${r.d} have only about ${number(r.random)}: positives ` +
          "are pushed apart.";
      }
      yield "Next: if it stays after warm-up, check the pairing of the views, the sign of the " +
        "similarity, stale or duplicate negatives, and the learning rate.";
    },
    *degenerate(r) {
      yield "N = 1 has no negatives: the positive is the only candidate, the loss is 0 for all " +
        "embeddings and so is its gradient.";
      if (r.alternatives.length) yield `A loss of ${number(r.loss)} is possible under: ${names(r)}.`;
      yield "Next: raise the batch size, gather negatives from all ranks, or use a queue.";
    },
  };

  return { diagnose, fixed, general };
})();
