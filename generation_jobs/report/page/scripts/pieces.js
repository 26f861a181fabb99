// The list of pieces: order, rows, and the open piece, which has a large piano roll under its row.

const ROWS_AT_ONCE = 50;
class PieceList {
  constructor(player) {
    this.player = player;
    this.onlist = () => {}; // called when other pieces are listed
    this.filters = new Filters(() => this.refresh());
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
    this.buildSort();
    this.refresh();
  }

  buildHead() {
    byId("pieces-head").append(
      html("th", { scope: "col" }, html("span", { class: "hidden" }, "Play")),
      html("th", { scope: "col" }, html("span", { class: "hidden" }, "Keep or reject")),
      html("th", { scope: "col" }, html("span", { class: "hidden" }, "Piano roll")),
      ...TABLE_COLUMNS.map((column) => {
        column.head = html("th", { scope: "col", class: column.text ? "text" : column.isCheck ? "check" : null },
          html("button", { type: "button", onclick: () => this.sortBy(column) }, column.title));
        return column.head;
      }),
      html("th", { scope: "col", class: "extra" },
        html("button", { type: "button", id: "extra-head", onclick: () => this.sortBy(this.column) })));
  }

  buildSort() {
    const sort = byId("sort");
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
      .filter(({ piece }) => this.filters.matches(piece))
      .sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        return (a.key < b.key ? -sign : a.key > b.key ? sign : 0) || a.index - b.index;
      })
      .map(({ index }) => index);
  }

  refresh() {
    this.filters.show();
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
    this.onlist();
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
    byId("count").textContent = this.order.length ? `${whole(this.rows.size)} of ${whole(this.order.length)} shown` : "No piece like this";
    this.mark();
  }

  makeRow(index) {
    const piece = DATA.pieces[index];
    const name = pieceTitle(piece);
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
    const summary = `${clock(piece.seconds)} · ${whole(piece.num_notes)} notes · ${decimal(piece.log_likelihood_per_note)} nats per note`
      + (extra ? ` · ${extra.title.toLowerCase()} ${extra.show(piece)}` : "");
    return html("tr", { class: "piece", "data-index": index },
      html("td", { class: "play" }, play),
      html("td", { class: "marking" }, markButtons(piece)),
      html("td", { class: "picture" }, look),
      html("td", { class: "text name" }, piece.seed_id, " ",
        html("span", { class: "sample" }, `sample ${piece.sample}${piece.is_highlight && !this.filters.highlightsOnly ? " · highlight" : ""}`),
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
      this.filters.clear();
      this.refresh();
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

  // A piece that the filter of marks now hides stays until another filter is chosen.
  markChanged() {
    for (const [index, row] of this.rows) refreshMarks(row.querySelector(".marks"), DATA.pieces[index]);
    this.stage.showMark();
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
