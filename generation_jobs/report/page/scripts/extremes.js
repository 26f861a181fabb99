// For each column and measure: the lowest and the highest pieces, and those closest to the corpus.

const NUM_EXTREMES = 3;

function fillExtremes(list) {
  const hasCorpus = DATA.measures.some((measure) => measure.corpus);
  const cell = (column, pieces, label) => html("td", { class: pieces.length ? null : "none", "data-label": label }, ...pieces.map((index) => {
    const piece = DATA.pieces[index];
    return html("button", { type: "button", class: "end", title: pieceTitle(piece), onclick: () => list.openAny(index) },
      html("b", {}, column.show(piece)), " ", ...titleParts(piece));
  }), ...(pieces.length ? [] : ["–"]));
  const heads = ["measure", "lowest", ...(hasCorpus ? ["closest to the corpus"] : []), "highest", ...(hasCorpus ? ["corpus, 5 to 95 %"] : [])];
  byId("extremes-head").append(...heads.map((text) => html("th", { scope: "col" }, text)));
  for (const column of COLUMNS) {
    if (column.text) continue;
    const value = (index) => column.value(DATA.pieces[index]);
    const order = DATA.pieces.map((piece, index) => index).filter((index) => typeof value(index) === "number");
    order.sort((a, b) => value(a) - value(b) || a - b);
    if (!order.length || value(order[0]) === value(order[order.length - 1])) continue;
    const row = html("tr", {}, html("th", { scope: "row" },
      html("button", { type: "button", onclick: () => { list.sortBy(column); byId("pieces").scrollIntoView(); } }, column.title)));
    const lowest = cell(column, order.slice(0, NUM_EXTREMES), "lowest");
    const highest = cell(column, order.slice(-NUM_EXTREMES).reverse(), "highest");
    row.append(lowest);
    if (hasCorpus) {
      const [low, middle, high] = column.corpus || [null, null, null];
      const near = middle === null ? [] : [...order].sort((a, b) => Math.abs(value(a) - middle) - Math.abs(value(b) - middle) || a - b);
      row.append(cell(column, near.slice(0, NUM_EXTREMES), heads[2]), highest, html("td", { class: middle === null ? "none" : null, "data-label": heads[4] },
        html("span", { class: "range" }, middle === null ? "–" : `${figureText(column.measure, low)} to ${figureText(column.measure, high)}`)));
    } else {
      row.append(highest);
    }
    byId("extremes-body").append(row);
  }
}
