// For each column and measure: the lowest and the highest pieces, and those closest to the corpus.

const NUM_EXTREMES = 3;

function fillExtremes(list) {
  const hasCorpus = DATA.measures.some((measure) => measure.corpus);
  const cell = (column, pieces) => html("td", { class: "ends" }, ...pieces.map((index) => {
    const piece = DATA.pieces[index], name = `${piece.seed_id}, sample ${piece.sample}`;
    return html("button", { type: "button", class: "end", title: name, onclick: () => list.openAny(index) },
      html("b", {}, column.show(piece)), ` ${name}`);
  }));
  byId("extremes-head").append(
    html("th", { scope: "col" }, "measure"), html("th", { scope: "col" }, "lowest"),
    ...(hasCorpus ? [html("th", { scope: "col" }, "closest to the corpus")] : []),
    html("th", { scope: "col" }, "highest"), ...(hasCorpus ? [html("th", { scope: "col" }, "corpus, 5 to 95 %")] : []));
  for (const column of COLUMNS) {
    if (column.text) continue;
    const order = DATA.pieces.map((piece, index) => index).filter((index) => typeof column.value(DATA.pieces[index]) === "number");
    const value = (index) => column.value(DATA.pieces[index]);
    order.sort((a, b) => value(a) - value(b) || a - b);
    if (!order.length || value(order[0]) === value(order[order.length - 1])) continue;
    const row = html("tr", {}, html("th", { scope: "row" },
      html("button", { type: "button", onclick: () => { list.sortBy(column); byId("pieces").scrollIntoView(); } }, column.title)));
    row.append(cell(column, order.slice(0, NUM_EXTREMES)));
    if (hasCorpus) {
      const [low, middle, high] = column.corpus || [null, null, null];
      const near = middle === null ? [] : [...order].sort((a, b) => Math.abs(value(a) - middle) - Math.abs(value(b) - middle) || a - b);
      row.append(cell(column, near.slice(0, NUM_EXTREMES)), cell(column, order.slice(-NUM_EXTREMES).reverse()),
        html("td", {}, middle === null ? "–" : `${decimal(low, 3)} to ${decimal(high, 3)}`));
    } else {
      row.append(cell(column, order.slice(-NUM_EXTREMES).reverse()));
    }
    byId("extremes-body").append(row);
  }
}
