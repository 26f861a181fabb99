// The list of pieces: filter, order, and the open piece, which has a large piano roll under its row.

const ROWS_AT_ONCE = 50;
const CHECKS = DATA.checks;

const COLUMNS = [
  { key: "name", title: "Piece", text: true, value: (piece) => piece.seed_id, ascending: true },
  { key: "seconds", title: "Length", value: (piece) => piece.seconds, show: (piece) => clock(piece.seconds) },
  { key: "notes", title: "Notes", value: (piece) => piece.num_notes, show: (piece) => whole(piece.num_notes) },
  {
    key: "distance", title: `Distance from the ${DATA.likeness}`, value: (piece) => piece.distance, ascending: true,
    show: (piece) => decimal(piece.distance),
  },
  {
    key: "likelihood", title: "Log\u2011likelihood per note", value: (piece) => piece.log_likelihood_per_note,
    show: (piece) => decimal(piece.log_likelihood_per_note),
  },
  ...CHECKS.map((name) => ({
    key: name, isCheck: true, title: checkTitle(name), value: (piece) => piece.checks[name],
    show: (piece) => checkText(name, piece.checks[name]),
  })),
  // Shown only while the list is sorted by them.
  ...DATA.measures.map((measure, index) => ({
    key: measure.name, isExtra: true, title: measure.title, corpus: measure.corpus,
    value: (piece) => piece.figures[index], show: (piece) => decimal(piece.figures[index], 3),
  })),
];
const TABLE_COLUMNS = COLUMNS.filter((column) => !column.isExtra);

class PieceList {
  constructor(player) {
    this.player = player;
    this.highlightsOnly = true;
    this.search = "";
    this.column = COLUMNS.find((column) => column.key === "distance");
    this.ascending = true;
    this.open = null;
    this.rows = new Map(); // the visible rows, by index of piece
    this.rolls = new Map(); // small rolls, by canvas
    this.thumbs = new IntersectionObserver((entries) => this.drawThumbs(entries), { rootMargin: "300px" });
    this.widths = new ResizeObserver((entries) => entries.forEach(({ target }) => this.redraw(target)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const canvas of this.rolls.keys()) this.redraw(canvas);
    });
    this.stage = new Stage(player);
    this.buildHead();
    this.buildControls();
    this.refresh();
  }

  buildHead() {
    byId("pieces-head").append(
      html("th", { scope: "col" }, html("span", { class: "hidden" }, "Play")),
      html("th", { scope: "col" }, html("span", { class: "hidden" }, "Piano roll")),
      ...TABLE_COLUMNS.map((column) => {
        column.head = html("th", { scope: "col", class: column.text ? "text" : column.isCheck ? "check" : null },
          html("button", { type: "button", onclick: () => this.sortBy(column) }, column.title));
        return column.head;
      }),
      html("th", { scope: "col", class: "extra" },
        html("button", { type: "button", id: "extra-head", onclick: () => this.sortBy(this.column) })));
  }

  buildControls() {
    const highlights = byId("show-highlights"), all = byId("show-all"), sort = byId("sort");
    const count = DATA.pieces.filter((piece) => piece.is_highlight).length;
    highlights.textContent = `Highlights ${whole(count)}`;
    all.textContent = `All ${whole(DATA.pieces.length)}`;
    const choose = (only) => {
      this.highlightsOnly = only;
      highlights.setAttribute("aria-pressed", only);
      all.setAttribute("aria-pressed", !only);
      this.refresh();
    };
    highlights.addEventListener("click", () => choose(true));
    all.addEventListener("click", () => choose(false));
    byId("search").addEventListener("input", (event) => {
      this.search = event.target.value.toLowerCase();
      if (this.search && this.highlightsOnly) choose(false);
      else this.refresh();
    });
    sort.append(...COLUMNS.map((column, index) => html("option", { value: index }, column.title)));
    sort.addEventListener("change", () => this.sortBy(COLUMNS[sort.value]));
    byId("direction").addEventListener("click", () => this.sortBy(this.column));
    byId("more").addEventListener("click", () => this.showMore());
  }

  sortBy(column) {
    this.ascending = column === this.column ? !this.ascending : Boolean(column.ascending);
    this.column = column;
    this.refresh();
  }

  // Indexes of the filtered pieces in order; those without a value last, ties in the order of the manifest.
  chosen() {
    const { value } = this.column;
    const sign = this.ascending ? 1 : -1;
    return DATA.pieces.map((piece, index) => ({ piece, index, key: value(piece) ?? null }))
      .filter(({ piece }) => (!this.highlightsOnly || piece.is_highlight) && piece.seed_id.toLowerCase().includes(this.search))
      .sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        return (a.key < b.key ? -sign : a.key > b.key ? sign : 0) || a.index - b.index;
      })
      .map(({ index }) => index);
  }

  refresh() {
    byId("pieces-table").classList.toggle("has-extra", Boolean(this.column.isExtra));
    byId("extra-head").textContent = `${this.column.title} ${this.ascending ? "↑" : "↓"}`;
    for (const column of TABLE_COLUMNS) {
      if (column === this.column) column.head.setAttribute("aria-sort", this.ascending ? "ascending" : "descending");
      else column.head.removeAttribute("aria-sort");
      column.head.firstChild.textContent = column.title + (column === this.column ? (this.ascending ? " ↑" : " ↓") : "");
    }
    byId("sort").value = COLUMNS.indexOf(this.column);
    byId("direction").textContent = this.ascending ? "↑" : "↓";
    this.order = this.chosen();
    this.thumbs.disconnect();
    this.widths.disconnect();
    this.rolls.clear();
    this.rows.clear();
    byId("pieces-body").replaceChildren();
    this.showMore();
    if (this.rows.has(this.open)) this.openRow(this.open);
    else this.stage.hide();
  }

  showMore(atLeast = 0) {
    const until = Math.max(this.rows.size + ROWS_AT_ONCE, atLeast);
    for (const index of this.order.slice(this.rows.size, until)) {
      const row = this.makeRow(index);
      this.rows.set(index, row);
      byId("pieces-body").append(row);
    }
    const left = this.order.length - this.rows.size;
    byId("more").hidden = !left;
    byId("more").textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more`;
    byId("count").textContent = this.order.length ? `${whole(this.rows.size)} of ${whole(this.order.length)} shown` : "No piece with this name";
    this.mark();
  }

  makeRow(index) {
    const piece = DATA.pieces[index];
    const name = `${piece.seed_id}, sample ${piece.sample}`;
    const canvas = html("canvas", { "data-index": index, "aria-hidden": "true" });
    this.thumbs.observe(canvas);
    const play = html("button", {
      type: "button", class: "round", "aria-label": `Play ${name}`, disabled: !piece.sound,
      onclick: () => { this.openRow(index); this.player.toggle(index); },
    }, playIcon());
    const look = html("button", {
      type: "button", class: "thumb", "aria-expanded": "false", "aria-label": `Look at ${name}`,
      onclick: () => (this.open === index ? this.close() : this.openRow(index)),
    }, canvas);
    const extra = this.column.isExtra ? this.column : null;
    const summary = `${clock(piece.seconds)} · ${whole(piece.num_notes)} notes · ${decimal(piece.log_likelihood_per_note)} per note`
      + (extra ? ` · ${extra.title.toLowerCase()} ${extra.show(piece)}` : "");
    return html("tr", { class: "piece", "data-index": index },
      html("td", { class: "play" }, play),
      html("td", { class: "picture" }, look),
      html("td", { class: "text name" }, piece.seed_id, " ",
        html("span", { class: "sample" }, `sample ${piece.sample}${piece.is_highlight && !this.highlightsOnly ? " · highlight" : ""}`),
        html("span", { class: "summary" }, summary)),
      ...TABLE_COLUMNS.slice(1).map((column) => html("td", { class: column.isCheck ? "number check" : "number" }, column.show(piece))),
      html("td", { class: "number extra" }, extra ? extra.show(piece) : ""));
  }

  // Draws rolls close to the visible area and frees the others: a thousand canvases would use too much memory.
  drawThumbs(entries) {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !this.rolls.has(target)) {
        const roll = new Roll(target, { small: true });
        this.rolls.set(target, roll);
        roll.show(DATA.pieces[target.dataset.index]);
        this.widths.observe(target);
      } else if (!isIntersecting && this.rolls.delete(target)) {
        this.widths.unobserve(target);
        target.width = target.height = 0;
      }
    }
  }

  redraw(canvas) {
    const roll = this.rolls.get(canvas);
    if (roll) roll.draw();
  }

  openRow(index) {
    const row = this.rows.get(index);
    if (!row) return;
    this.open = index;
    row.after(this.stage.row);
    this.stage.show(index);
    this.player.choose(index);
    this.mark();
  }

  // Opens any piece; if the filter hides it, shows all pieces.
  openAny(index) {
    if (!this.order.includes(index)) {
      byId("search").value = this.search = "";
      byId("show-all").click();
    }
    this.follow(index);
    this.stage.row.scrollIntoView({ block: "center" });
  }

  close() {
    this.open = null;
    this.stage.hide();
    this.mark();
  }

  // Opens the piece that the player moved to, even if its row does not exist yet.
  follow(index) {
    const position = this.order.indexOf(index);
    if (position < 0) return;
    if (position >= this.rows.size) this.showMore(position + 1);
    this.openRow(index);
  }

  mark() {
    for (const [index, row] of this.rows) {
      const isCurrent = index === this.player.index;
      row.classList.toggle("open", index === this.open);
      row.classList.toggle("current", isCurrent);
      row.classList.toggle("is-playing", isCurrent && this.player.isPlaying);
      row.querySelector(".thumb").setAttribute("aria-expanded", index === this.open);
    }
  }
}
