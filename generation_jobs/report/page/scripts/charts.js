// Small charts in SVG, drawn to fit the available width.

const CHART_HEIGHT = 150;

// A box with a title, a figure on its right, a note, and a drawing that is redrawn when the width changes.
function chartBox(title, figure, note, label, draw) {
  const drawing = svg("svg", { role: "img", "aria-label": label, height: CHART_HEIGHT + 22 });
  const noteNode = html("p", { class: "note" }, note);
  const box = html("div", { class: "chart" },
    html("div", { class: "chart-head" }, html("h3", {}, title), html("strong", {}, figure)), noteNode, drawing);
  let width = 0;
  onAppearance(box, () => {
    if (drawing.clientWidth === width || !drawing.clientWidth) return;
    width = drawing.clientWidth;
    drawing.replaceChildren(...draw(width, CHART_HEIGHT, (text) => { noteNode.textContent = text || note; }));
  });
  return box;
}

function percent(share) {
  return `${decimal(100 * share, share < 0.1 ? 1 : 0)} %`;
}

function comparisonChart(measure) {
  const { generated, corpus, bins, ticks } = measure;
  const ceiling = measure.ceiling === null ? "" : `corpus with itself ${decimal(measure.ceiling)}`;
  const figure = measure.overlap === null ? "–" : decimal(measure.overlap);
  const label = `${measure.title}: overlap of generated music and corpus ${figure}. ${ceiling}`;
  return chartBox(measure.title, figure, ceiling || "overlap", label, (width, height, showNote) => {
    const highest = Math.max(1e-9, ...(generated || []), ...(corpus || []));
    const step = width / bins.length;
    const y = (share) => height - (height - 6) * share / highest;
    const shapes = [];
    (corpus || []).forEach((share, bin) => shapes.push(svg("rect", {
      class: "bar-corpus", x: bin * step + 0.5, width: Math.max(1, step - 1), y: y(share), height: height - y(share),
    })));
    if (generated) {
      const line = generated.map((share, bin) => `L${bin * step} ${y(share)}L${(bin + 1) * step} ${y(share)}`).join("");
      shapes.push(svg("path", { class: "outline", d: `M0 ${height}${line}L${width} ${height}` }));
    }
    shapes.push(svg("line", { class: "axis", x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5 }));
    const longest = Math.max(...ticks.map(([, text]) => text.length));
    const every = Math.ceil(ticks.length * (7 * longest + 6) / width);
    for (const [bin, text] of ticks.filter((tick, place) => place % every === 0)) {
      shapes.push(svg("text", { x: (bin + 0.5) * step, y: height + 16, "text-anchor": "middle" }, text));
    }
    bins.forEach((bin, index) => shapes.push(svg("rect", {
      class: "bar-hit", x: index * step, width: step, y: 0, height,
      onpointerenter: () => showNote(`${bin}: generated ${generated ? percent(generated[index]) : "–"}, corpus ${corpus ? percent(corpus[index]) : "–"}`),
      onpointerleave: () => showNote(""),
    })));
    return shapes;
  });
}

function overlapTable(measures) {
  const head = ["", "overlap (1: equal)", "of the corpus with itself", "distance (bins)", "of the corpus with itself"]
    .map((text) => html("th", { scope: "col" }, text));
  const rows = measures.map((measure) => html("tr", {}, html("th", { scope: "row" }, measure.title),
    ...["overlap", "ceiling", "wasserstein", "wasserstein_ceiling"].map((name) => html("td", {}, decimal(measure[name])))));
  return html("div", { class: "chart scroll", tabindex: "0", role: "region", "aria-label": "Overlaps" },
    html("table", { class: "numbers scores" },
    html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows)));
}

function niceTicks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let count = Math.ceil(low / step); count * step <= high + 1e-9; count++) ticks.push(count * step);
  return ticks;
}

function shortNumber(value) {
  return Math.abs(value) >= 1000 ? `${+(value / 1000).toPrecision(3)}k` : String(+value.toPrecision(4)).replace("-", "−");
}

// `chart` has title, figure, note and lines; a line has name, color, dashed and points [step, value].
function lineChart(chart) {
  const all = chart.lines.flatMap((line) => line.points);
  const label = `${chart.title}. ${chart.lines.map((line) => `${line.name}: ${decimal(line.points.at(-1)[1])}`).join(", ")}`;
  return chartBox(chart.title, chart.figure, chart.note, label, (width, height, showNote) => {
    const left = 34, right = width - 4;
    const [firstX, lastX] = [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
    let [low, high] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
    const margin = (high - low || Math.abs(high) || 1) * 0.08;
    low -= margin;
    high += margin;
    const x = (step) => left + (right - left) * (lastX > firstX ? (step - firstX) / (lastX - firstX) : 0.5);
    const y = (value) => height - height * (value - low) / (high - low);
    const shapes = [];
    for (const value of niceTicks(low, high, 4)) {
      shapes.push(svg("line", { class: "axis", x1: left, x2: width, y1: y(value), y2: y(value) }));
      shapes.push(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, shortNumber(value)));
    }
    for (const step of niceTicks(firstX, Math.max(lastX, firstX + 1), 6)) {
      if (step <= lastX) shapes.push(svg("text", { x: x(step), y: height + 16, "text-anchor": x(step) > width - 30 ? "end" : "middle" }, shortNumber(step)));
    }
    for (const line of chart.lines) {
      const points = line.points.map(([step, value]) => `${x(step)} ${y(value)}`).join("L");
      shapes.push(svg("path", { class: `curve${line.dashed ? " dashed" : ""}`, stroke: `var(${line.color})`, d: `M${points}` }));
      if (line.points.length === 1) shapes.push(svg("circle", { cx: x(line.points[0][0]), cy: y(line.points[0][1]), r: 3, fill: `var(${line.color})` }));
    }
    const marker = svg("line", { class: "axis", y1: 0, y2: height, visibility: "hidden" });
    shapes.push(marker, svg("rect", {
      class: "hit", fill: "transparent", x: left, y: 0, width: right - left, height,
      onpointermove: (event) => {
        const at = event.clientX - event.currentTarget.ownerSVGElement.getBoundingClientRect().left;
        const steps = chart.lines.find((line) => !line.dashed).points.map((p) => p[0]);
        const nearest = steps.reduce((best, step) => (Math.abs(x(step) - at) < Math.abs(x(best) - at) ? step : best));
        marker.setAttribute("x1", x(nearest));
        marker.setAttribute("x2", x(nearest));
        marker.setAttribute("visibility", "visible");
        const values = chart.lines.filter((line) => !line.dashed).map((line) => [line.name, line.points.find((p) => p[0] === nearest)]);
        showNote(`step ${whole(nearest)}: ${values.filter(([, p]) => p).map(([name, p]) => `${name} ${decimal(p[1])}`).join(", ")}`);
      },
      onpointerleave: () => { marker.setAttribute("visibility", "hidden"); showNote(""); },
    }));
    return shapes;
  });
}

function lineLegend(chart) {
  return html("p", { class: "legend" }, ...chart.lines.flatMap((line) => {
    const key = html("span", { class: "key" });
    key.style.background = `var(${line.color})`;
    return [html("span", {}, key, line.name), " "];
  }));
}

function drawCharts() {
  if (DATA.comparison.length) {
    byId("comparison-charts").append(...DATA.comparison.map(comparisonChart));
    byId("comparison").append(overlapTable(DATA.comparison));
  }
  for (const chart of DATA.training) {
    const box = lineChart(chart);
    if (chart.lines.length > 1) box.append(lineLegend(chart));
    byId("training-charts").append(box);
  }
}
