// The explorer: fields and sliders to a diagnosis, curves, and a log in its band.

const Explorer = (() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const at = (id) => document.getElementById(id);
  const POINTS = 1000;
  const LARGEST = 2 ** 40;

  // --- what is asked ---

  const SLIDERS = {
    n: { to: (x) => Math.round(2 ** x), from: (n) => Math.log2(n) },
    t: { to: (x) => Number((10 ** x).toPrecision(3)), from: (t) => Math.log10(t) },
    d: { to: (x) => Math.round(2 ** x), from: (d) => Math.log2(d) },
  };

  function field(id, least, largest, whole, needed) {
    const text = at(id).value.trim();
    if (text === "" && !at(id).validity.badInput) {
      if (needed) throw new Error(`${needed}: type a number.`);
      return null;
    }
    const value = Number(text);
    const fits = text !== "" && value >= least && value <= largest && (!whole || Number.isInteger(value));
    if (!fits) {
      const name = at(id).labels[0].firstChild.textContent.trim();
      const kind = whole ? "an integer" : "a number";
      throw new Error(`${name}: received ${text || "no number"}, expected ${kind} from ${least} to ${largest}.`);
    }
    return value;
  }

  function asked() {
    const variant = at("variant").value;
    const queued = page.variants[variant].queued;
    const { theorem } = page.variants[variant];
    at("queue-field").hidden = !queued;
    at("views-field").hidden = theorem !== 14;
    at("hard-field").hidden = theorem !== 12;
    return {
      variant,
      n: field("n", 1, LARGEST, true, "N"),
      t: field("t", 0.001, 100, false, "τ"),
      d: field("d", 1, 2 ** 24, true),
      queue: queued ? field("k", 1, LARGEST, true, "K") : null,
      views: theorem === 14 ? field("views", 2, 2 ** 24, true, "V") : 2,
      negatives: theorem === 12 ? field("hard", 0, 2 ** 24, true, "K") : 0,
      loss: field("loss", -Infinity, Infinity, false),
      positive: field("positive", -1, 1, false),
      negative: field("negative", -1, 1, false),
    };
  }

  // What is proved of pairs holds of pairs alone.
  const plain = (s) => s.views === 2 && !s.negatives;

  // --- what is answered ---

  // The value in full for machines, five digits for people.
  function show(id, values, write = (x) => Diagnosis.general(x, 5)) {
    const place = at(`out-${id}`);
    place.replaceChildren();
    if (values === null) return void place.append("—");
    for (const [k, value] of [values].flat().entries()) {
      const data = document.createElement("data");
      data.value = String(value);
      data.textContent = write(value);
      place.append(...(k ? [" – ", data] : [data]));
    }
  }

  function paragraphs(place, lines) {
    place.replaceChildren(
      ...lines.map((line) => {
        const p = document.createElement("p");
        p.textContent = line;
        return p;
      }),
    );
  }

  function say(tone, headline, sentences, advice = []) {
    at("verdict-panel").className = `verdict ${tone}`;
    at("headline").textContent = headline;
    paragraphs(at("sentences"), sentences);
    paragraphs(at("advice"), advice);
    at("next").hidden = !advice.length;
  }

  const EMPTY = ["floor", "chance", "ceiling", "position", "interval", "top1", "gradient", "random"];

  function answer() {
    at("gauge").hidden = at("others").hidden = true;
    let s;
    try {
      s = asked();
      const report = s.loss === null ? null : Diagnosis.diagnose(s);
      const limits = Bounds.limits(s.variant, s.n, s.t, s.queue, s.d, s.negatives, s.views);
      for (const name of ["floor", "chance", "ceiling"]) show(name, limits[name]);
      const random = s.d === null || !plain(s) ? null : limits.chance + limits.scale * Bounds.logKernelMean(s.d, s.t);
      show("random", random);
      show("position", report?.position ?? null, (x) => Diagnosis.fixed(x, 3));
      show("interval", report?.interval ?? null, (x) => Diagnosis.fixed(x, 3));
      show("top1", report?.top1 ?? null, (x) => `${Diagnosis.fixed(100 * x, 1)} %`);
      show("gradient", report?.gradient ?? null);
      if (report) tell(report, limits);
      else say("none", "Type a loss", ["Below stand the limits of any loss at this N and τ."]);
      for (const draw of [overTemperature, overSize, overLoss]) draw(s, limits);
      place(s, limits);
    } catch (error) {
      if (!(error instanceof Error) || error instanceof TypeError) throw error;
      for (const name of EMPTY) show(name, null);
      say("none", "This cannot be answered", [error.message]);
    }
    if (s && run) drawLog(s);
  }

  function tell(report, limits) {
    const advice = report.sentences.filter((line) => line.startsWith("Next: "));
    const found = report.sentences.filter((line) => !line.startsWith("Next: "));
    const next = advice.map((line) => line[6].toUpperCase() + line.slice(7));
    say(page.tones[report.verdict], page.headlines[report.verdict], found, next);
    if (report.position !== null) {
      const shown = Math.min(Math.max(report.position, 0), 1.25);
      const gauge = at("gauge");
      gauge.hidden = false;
      gauge.setAttribute("aria-label", `Position ${Diagnosis.fixed(report.position, 3)} on a scale from 0, the floor, to 1, chance`);
      gauge.querySelector(".needle").style.left = `${80 * shown}%`;
      gauge.querySelector(".passed").style.width = `${80 * Math.min(shown, 1)}%`;
      at("gauge-loss").style.left = `${Math.max(80 * shown, 8)}%`;
      at("gauge-loss").textContent = `loss ${Diagnosis.general(report.loss, 4)}`;
      at("gauge-floor").textContent = `floor ${Diagnosis.general(limits.floor, 4)}`;
      at("gauge-chance").textContent = `chance ${Diagnosis.general(limits.chance, 4)}`;
    }
    const others = report.alternatives.slice(0, 12);
    at("others").hidden = !others.length;
    at("others-rows").replaceChildren(
      ...others.map((other) => {
        const row = document.createElement("tr");
        const position = other.position === null ? "—" : Diagnosis.fixed(other.position, 3);
        for (const [k, text] of [other.convention, other.verdict.replaceAll("_", " "), position].entries()) {
          const cell = document.createElement(k ? "td" : "th");
          if (!k) cell.scope = "row";
          if (k === 2) cell.className = "number";
          cell.textContent = text;
          row.append(cell);
        }
        return row;
      }),
    );
  }

  // Sliders follow the fields, except the one that is being moved.
  function place(s, limits) {
    for (const [id, { from }] of Object.entries(SLIDERS)) {
      if (document.activeElement !== at(`${id}-slider`) && s[id] !== null) at(`${id}-slider`).value = from(s[id]);
    }
    const share = (s.loss - limits.floor) / (limits.ceiling - limits.floor);
    if (document.activeElement !== at("loss-slider") && s.loss !== null) at("loss-slider").value = share;
  }

  // --- curves ---

  const line = (name, x, y, colour, more = {}) => ({
    type: "scatter", mode: "lines", name, x, y, line: { color: `@${colour}`, width: 2 },
    hovertemplate: "%{y:.4g} nats", ...more,
  });
  const LOOKS = [["ceiling", "purple"], ["chance", "grey"], ["floor", "green"]];

  function limitCurves(x, limitsAt, own) {
    const limits = x.map(limitsAt);
    const data = LOOKS.map(([name, colour]) => line(name, x, limits.map((l) => l[name]), colour));
    data[1].line = { ...data[1].line, dash: "dash" };
    const mark = { mode: "markers", marker: { color: "@orange", size: 11, line: { color: "@ground", width: 2 } } };
    if (own.loss !== null) data.push(line("your loss", [own.x], [own.loss], "orange", mark));
    return data;
  }

  const here = (x) => [{ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: "@muted", width: 1, dash: "dot" } }];

  function overTemperature(s, limits) {
    const x = Array.from({ length: 161 }, (_, k) => 0.005 * 2000 ** (k / 160));
    const data = limitCurves(x, (t) => Bounds.limits(s.variant, s.n, t, s.queue, s.d, s.negatives, s.views), { x: s.t, loss: s.loss });
    const shown = data.flatMap((trace) => (trace.name === "ceiling" ? [] : trace.y));
    const top = 1.5 * Math.max(...shown.filter(Number.isFinite), limits.chance, 0.1);
    Page.draw(at("over-t"), {
      data, layout: {
        shapes: here(s.t),
        xaxis: { type: "log", title: { text: "τ" }, range: [Math.log10(0.005), 1], tickvals: [0.005, 0.02, 0.1, 0.5, 2, 10], tickangle: 0, unifiedhovertitle: { text: "τ = %{x:.3~g}" } },
        yaxis: { title: { text: "loss, nats" }, range: [0, Math.max(top, Math.min(s.loss ?? 0, 2 * top) * 1.1)] },
      },
    });
  }

  function overSize(s) {
    const x = Array.from({ length: 65 }, (_, k) => Math.max(2, Math.round(2 ** (1 + k / 4))));
    const data = limitCurves(x, (n) => Bounds.limits(s.variant, n, s.t, s.queue, s.d, s.negatives, s.views), { x: s.n, loss: s.loss });
    Page.draw(at("over-n"), {
      data, layout: {
        shapes: here(s.n),
        xaxis: { type: "log", title: { text: "N" }, tickvals: [2, 32, 512, 8192, 131072], tickformat: ",d", tickangle: 0, unifiedhovertitle: { text: "N = %{x:,}" } },
        yaxis: { title: { text: "loss, nats" }, rangemode: "tozero" },
      },
    });
  }

  function overLoss(s, limits) {
    const paired = page.diagnosis.paired.includes(s.variant) && s.n > 1 && plain(s);
    const x = [], low = [], high = [];
    for (let k = 0; paired && k <= 200; k++) {
      const loss = limits.floor + ((limits.ceiling - limits.floor) * k) / 200;
      const [l, h] = Bounds.similarityInterval(loss / limits.scale, s.n, s.t);
      x.push(loss);
      low.push(l);
      high.push(h);
    }
    const edge = { color: "@blue/0.6", width: 1.5 };
    const words = { text: "Nothing is claimed of the positives for this convention.", xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false };
    const shapes = [...here(limits.chance), ...(s.loss === null ? [] : here(s.loss))];
    if (s.loss !== null) shapes[1].line = { color: "@orange", width: 2 };
    Page.draw(at("over-loss"), {
      data: [
        line("at least", x, low, "blue", { line: edge, hovertemplate: "%{y:.4f}" }),
        line("at most", x, high, "blue", { line: edge, fill: "tonexty", fillcolor: "@blue/0.16", hovertemplate: "%{y:.4f}" }),
      ],
      layout: {
        shapes: paired ? shapes : [],
        annotations: paired ? [{ text: "chance", x: limits.chance, y: 0, yref: "paper", showarrow: false, xanchor: "left", yanchor: "bottom", font: { color: "@muted" } }] : [words],
        xaxis: { title: { text: "loss, nats" }, unifiedhovertitle: { text: "loss %{x:.4~g} nats" } },
        yaxis: { title: { text: "mean positive cosine" }, range: [-1.05, 1.05] },
      },
    });
  }

  // --- a log ---

  let run = null;
  const STEPS = ["step", "global_step", "trainer/global_step", "_step", "iteration", "iter", "epoch"];
  const LIKELY = [
    /^(?!.*(val|test|eval)).*(contrastive|nt.?xent|info.?nce|simclr|moco|clip|ssl).*loss/i,
    /^loss$/i, /^train(ing)?[/_. ]?loss([/_. ]step)?$/i, /^loss[/_. ](train(ing)?|step)$/i,
    /^(?!.*(val|test|eval)).*loss/i, /loss/i,
  ];

  // A line of cells; quotes protect delimiters and double themselves.
  function cells(text, delimiter) {
    if (!text.includes('"')) return text.split(delimiter);
    const found = [];
    let cell = "", quoted = false;
    for (let k = 0; k < text.length; k++) {
      const c = text[k];
      if (c === '"' && quoted && text[k + 1] === '"') cell += text[++k];
      else if (c === '"') quoted = !quoted;
      else if (c === delimiter && !quoted) { found.push(cell); cell = ""; }
      else cell += c;
    }
    return [...found, cell];
  }

  const ABSENT = ["", "None", "null", "NA", "N/A"];
  const parse = (cell) => (/^[+-]?nan$/i.test(cell) ? NaN : /^[+-]?inf(inity)?$/i.test(cell) ? (cell[0] === "-" ? -Infinity : Infinity) : Number(cell));

  function read(text) {
    const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/).filter((l) => l.trim());
    if (lines.length < 2) throw new Error("Expected a header and at least one row, such as step,loss.");
    const delimiter = [",", "\t", ";"].reduce((a, b) => (lines[0].split(b).length > lines[0].split(a).length ? b : a));
    const names = cells(lines[0], delimiter).map((name) => name.trim());
    const rows = lines.slice(1).map((l) => cells(l, delimiter)).filter((row) => row.length === names.length);
    const likely = names.filter((name) => /loss/i.test(name) || (!STEPS.includes(name) && names.length <= 2));
    const rank = (name) => { const k = LIKELY.findIndex((p) => p.test(name)); return k < 0 ? LIKELY.length : k; };
    const columns = likely.sort((a, b) => rank(a) - rank(b));
    if (!columns.length) throw new Error(`No column is named like a loss; the columns are ${names.slice(0, 20).join(", ")}.`);
    return { names, rows, columns, skipped: lines.length - 1 - rows.length };
  }

  function series(column) {
    const index = run.names.indexOf(column);
    const stated = STEPS.map((name) => run.names.indexOf(name)).filter((k) => k >= 0);
    const steps = [], values = [];
    for (const [number, row] of run.rows.entries()) {
      const cell = row[index].trim();
      if (ABSENT.includes(cell)) continue;
      const value = parse(cell);
      if (Number.isNaN(value) && !/nan/i.test(cell)) continue;
      const own = stated.map((k) => row[k].trim()).find((step) => !ABSENT.includes(step));
      steps.push(own === undefined ? number : Number(own));
      values.push(value);
    }
    return { steps, values };
  }

  const even = (x) => { const r = Math.round(x); return Math.abs(x % 1) === 0.5 && r % 2 ? r - 1 : r; };

  function take(text) {
    at("log-error").hidden = true;
    at("log-result").hidden = true;
    run = null;
    if (!text.trim()) return;
    try {
      run = read(text);
      at("column").replaceChildren(...run.columns.map((name) => new Option(name, name)));
      at("column-field").hidden = run.columns.length < 2;
      choose();
    } catch (error) {
      if (error instanceof TypeError) throw error;
      run = null;
      at("log-error").textContent = error.message;
      at("log-error").hidden = false;
    }
  }

  // The end of a run is the mean of its last twentieth, as in ntxent.trajectory.
  function choose() {
    const column = at("column").value;
    Object.assign(run, series(column));
    const finite = run.values.filter(Number.isFinite);
    if (!finite.length) throw new Error(`Column ${column} holds no finite number.`);
    const last = finite.slice(-Math.max(1, even(finite.length / 20)));
    at("loss").value = last.reduce((a, b) => a + b, 0) / last.length;
    const broken = run.values.length - finite.length;
    at("log-words").textContent =
      `${run.values.length.toLocaleString("en")} values of ${column}` +
      (broken ? `, ${broken} of them NaN or infinite` : "") +
      (run.skipped ? `; ${run.skipped} lines of another length are left out` : "") +
      `. The loss judged above is the mean of the last ${last.length}.`;
    at("log-result").hidden = false;
    answer();
  }

  function drawLog(s) {
    const size = Math.max(1, Math.ceil(run.values.length / POINTS));
    const x = [], mean = [], low = [], high = [];
    for (let k = 0; k < run.values.length; k += size) {
      const part = run.values.slice(k, k + size).filter(Number.isFinite);
      x.push(run.steps[k]);
      mean.push(part.length ? part.reduce((a, b) => a + b, 0) / part.length : null);
      low.push(part.length ? Math.min(...part) : null);
      high.push(part.length ? Math.max(...part) : null);
    }
    const { floor, chance, ceiling } = Bounds.limits(s.variant, s.n, s.t, s.queue, s.d, s.negatives, s.views);
    const level = (y, dash) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: "@muted", width: 1.25, dash } });
    const words = (y, text, below) => ({ text, xref: "paper", x: 1, y, showarrow: false, xanchor: "right", yanchor: below ? "top" : "bottom", font: { color: "@muted" } });
    const seen = [...low, ...high].filter((v) => v !== null);
    const bottom = Math.min(floor, ...seen), top = Math.max(chance, ...seen), pad = 0.1 * (top - bottom || 1);
    const data = [line("loss", x, mean, "orange")];
    if (size > 1) {
      const silent = { showlegend: false, hoverinfo: "skip", hovertemplate: null, line: { width: 0 } };
      data.unshift(
        line("smallest", x, low, "orange", silent),
        line(`smallest to largest of ${size}`, x, high, "orange", { ...silent, showlegend: true, fill: "tonexty", fillcolor: "@orange/0.2" }),
      );
    }
    Page.draw(at("log-plot"), {
      data, layout: {
        shapes: [level(floor), level(chance, "dash"), { type: "rect", xref: "paper", x0: 0, x1: 1, y0: floor, y1: ceiling, fillcolor: "@blue/0.07", line: { width: 0 }, layer: "below" }],
        annotations: [words(floor, `floor ${Diagnosis.general(floor, 4)}`, true), words(chance, `chance ${Diagnosis.general(chance, 4)}`)],
        xaxis: { title: { text: "step" } }, yaxis: { title: { text: "loss, nats" }, range: [bottom - pad, top + pad] },
      },
    });
  }

  // --- what the reader does ---

  let waiting = 0;
  const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(answer); };

  at("inputs").addEventListener("input", ({ target }) => {
    const id = target.id.replace("-slider", "");
    if (target.id === "loss-slider") {
      try {
        const { floor, ceiling } = Bounds.limits(...(({ variant, n, t, queue, d, negatives, views }) => [variant, n, t, queue, d, negatives, views])(asked()));
        at("loss").value = Number((floor + target.value * (ceiling - floor)).toPrecision(5));
      } catch { /* the fields say what is wrong */ }
    } else if (target.type === "range") at(id).value = SLIDERS[id].to(Number(target.value));
    soon();
  });
  at("inputs").addEventListener("submit", (event) => event.preventDefault());
  at("paste").addEventListener("input", () => take(at("paste").value));
  at("column").addEventListener("change", () => {
    try { choose(); } catch (error) { at("log-words").textContent = error.message; }
  });
  const load = async (file) => { if (file) take(await file.text()); };
  at("file").addEventListener("change", ({ target }) => load(target.files[0]));
  const drop = at("drop");
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.toggle("over", over); });
  }
  drop.addEventListener("drop", ({ dataTransfer }) => load(dataTransfer.files[0]));
  // A file dropped beside the frame must not replace the page.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

  answer();
  return { answer, take };
})();
