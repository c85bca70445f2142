"use strict";
// Theme, figures and tables of every page. A figure names its colours; see palette.py.

const Page = (() => {
  const { figures, palettes } = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choice = { axis: "step", smoothing: 0 };
  const drawn = new Map();
  let printing = false;

  // --- theme ---

  function theme() {
    if (printing) return "light";
    return root.dataset.theme || (dark.matches ? "dark" : "light");
  }

  function resolve(value) {
    if (Array.isArray(value)) return value.map(resolve);
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
    }
    if (typeof value !== "string" || value[0] !== "@") return value;
    const [name, opacity] = value.slice(1).split("/");
    const colour = palettes[theme()][name];
    if (opacity === undefined) return colour;
    const channels = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
    return `rgba(${channels.join(",")},${opacity})`;
  }

  function nextTheme() {
    const order = ["", "light", "dark"];
    const now = order[(order.indexOf(root.dataset.theme || "") + 1) % order.length];
    if (now) root.dataset.theme = now;
    else delete root.dataset.theme;
    document.getElementById("theme").textContent = `Theme: ${now || "system"}`;
    redraw();
  }

  // --- figures ---

  const merge = (base, more) => {
    const merged = { ...base };
    for (const [key, value] of Object.entries(more)) {
      const both = [value, base[key]].every((v) => v && typeof v === "object" && !Array.isArray(v));
      merged[key] = both ? merge(base[key], value) : value;
    }
    return merged;
  };

  function base(narrow) {
    const axis = {
      gridcolor: "@line", linecolor: "@line", zeroline: false, automargin: true,
      ticks: "outside", tickcolor: "@line", ticklen: 4,
      tickfont: { color: "@muted" }, title: { standoff: 8, font: { color: "@muted" } },
    };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 12 : 13, color: "@ink" },
      margin: { l: narrow ? 48 : 60, r: narrow ? 8 : 16, t: 12, b: 46 },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" },
      hovermode: "x unified", hoverlabel: { bgcolor: "@ground", bordercolor: "@line", font: { color: "@ink" } },
      xaxis: axis, yaxis: axis, dragmode: narrow ? false : "zoom", uirevision: "keep",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "@muted", activecolor: "@ink" },
    };
  }

  const UNITS = [[7200, 3600, "hours"], [180, 60, "minutes"], [0, 1, "seconds"]];

  // The x values in the chosen unit, or in steps where a run does not have that unit.
  function place(grids) {
    const axis = grids.length && grids.every((g) => g[choice.axis] || !g.step.length) ? choice.axis : "step";
    let unit = axis, divisor = 1;
    if (axis === "time") {
      const longest = Math.max(...grids.flatMap((g) => g.time || []));
      [, divisor, unit] = UNITS.find(([least]) => longest >= least);
    }
    const places = grids.map((g) => (g[axis] || []).map((x) => x / divisor));
    return { places, title: axis === "time" ? `time, ${unit}` : axis, unit };
  }

  function smoothed(values, share) {
    const half = Math.max(1, Math.round((values.length * share) / 2));
    const sums = [0], counts = [0];
    for (const value of values) {
      sums.push(sums[sums.length - 1] + (value ?? 0));
      counts.push(counts[counts.length - 1] + (value === null ? 0 : 1));
    }
    return values.map((value, k) => {
      const low = Math.max(0, k - half), high = Math.min(values.length, k + half + 1);
      return value === null ? null : (sums[high] - sums[low]) / (counts[high] - counts[low]);
    });
  }

  function build(figure, narrow) {
    const { places, title, unit } = place(figure.grids || []);
    const data = [];
    for (const { grid, smooth, ...trace } of figure.data) {
      const own = places[grid] ? { ...trace, x: places[grid] } : trace;
      if (smooth && choice.smoothing > 0) {
        data.push({ ...own, opacity: 0.3, showlegend: false, hoverinfo: "skip", hovertemplate: null });
        data.push({ ...own, y: smoothed(own.y, choice.smoothing) });
      } else data.push(own);
    }
    let layout = base(narrow);
    for (const name of Object.keys(figure.layout)) {
      if (/^[xy]axis\d+$/.test(name)) layout[name] = layout.xaxis;
    }
    layout = merge(layout, figure.layout);
    if (places.length) {
      layout.xaxis = merge(layout.xaxis, {
        title: { text: title }, unifiedhovertitle: { text: axisWords(unit) },
      });
    }
    return [resolve(data), resolve(layout)];
  }

  const axisWords = (unit) => (["step", "epoch"].includes(unit) ? `${unit} %{x:,.6~g}` : `%{x:.4~g} ${unit}`);

  const BUTTONS = ["zoomIn2d", "zoomOut2d", "pan2d", "select2d", "lasso2d", "autoScale2d"];
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: BUTTONS };

  // Before Plotly is loaded a figure is only noted: it is drawn as soon as that has happened.
  function draw(plot, figure) {
    drawn.set(plot, figure);
    if (!window.Plotly) return;
    const [data, layout] = build(figure, plot.clientWidth < 480);
    const first = !plot.classList.contains("js-plotly-plot");
    Plotly.react(plot, data, layout, CONFIG);
    if (first && figure.sprite) showImages(plot, figure.sprite);
  }

  function redraw() {
    for (const [plot, figure] of drawn) draw(plot, figure);
    document.dispatchEvent(new CustomEvent("theme"));
  }

  // The image of the point under the pointer, cut from the sheet that the page carries.
  function showImages(plot, sheet) {
    const thumb = document.createElement("div");
    thumb.id = "thumb";
    document.body.append(thumb);
    const zoom = Math.max(1, Math.round(96 / sheet.width));
    const [width, height] = [sheet.width * zoom, sheet.height * zoom];
    const rows = Math.ceil(sheet.count / sheet.columns);
    Object.assign(thumb.style, {
      width: `${width + 4}px`, height: `${height + 4}px`, backgroundImage: `url(${sheet.uri})`,
      backgroundSize: `${width * sheet.columns}px ${height * rows}px`,
    });
    plot.on("plotly_hover", ({ points, event }) => {
      const at = points[0].customdata;
      if (at >= sheet.count) return;
      thumb.style.backgroundPosition =
        `-${(at % sheet.columns) * width}px -${Math.floor(at / sheet.columns) * height}px`;
      const left = Math.min(event.clientX + 18, innerWidth - width - 12);
      const above = event.clientY - height - 22;
      Object.assign(thumb.style, { display: "block", left: `${left}px`, top: `${above > 4 ? above : event.clientY + 22}px` });
    });
    plot.on("plotly_unhover", () => (thumb.style.display = "none"));
  }

  // --- tables ---

  function sortBy(button) {
    const head = button.closest("th"), table = head.closest("table");
    const first = button.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const cell of table.querySelectorAll("thead th")) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const index = head.cellIndex, sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.cells[index].textContent.trim();
    const missing = (text) => text === "—";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      const [p, q] = [Number(x), Number(y)];
      return sign * (Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q);
    });
    table.tBodies[0].append(...rows);
  }

  // --- what the reader does ---

  document.getElementById("theme").addEventListener("click", nextTheme);
  dark.addEventListener("change", redraw);
  const print = (now) => () => { printing = now; redraw(); };
  addEventListener("beforeprint", print(true));
  addEventListener("afterprint", print(false));
  for (const button of document.querySelectorAll(".sortable th button")) {
    button.addEventListener("click", () => sortBy(button));
  }
  const offered = Object.values(figures).flatMap((figure) => figure.grids || []);
  for (const input of document.querySelectorAll(".controls input")) {
    const told = input.name !== "axis" || offered.some((grid) => grid[input.value]);
    if (!told) input.closest("label").hidden = true;
    input.addEventListener("change", () => {
      choice[input.name] = input.name === "axis" ? input.value : Number(input.value);
      redraw();
    });
  }
  for (const plot of document.querySelectorAll("[data-figure]")) {
    if (figures[plot.dataset.figure]) draw(plot, figures[plot.dataset.figure]);
  }
  const ready = plotlyLoaded.then(redraw, () => {});
  return { draw, ready, theme };
})();
