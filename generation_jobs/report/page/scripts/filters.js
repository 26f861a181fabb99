// Which pieces are listed: highlights or all, a text, and one choice each for seed, end, screening and mark.

const ENDINGS = new Map([[true, "by itself"], ["steered", "steered to an end"], [false, "cut at a limit"]]);
const endingOf = (piece) => ENDINGS.get(piece.ended) ?? String(piece.ended);

const FILTERS = [
  { id: "filter-seed", title: "Seed", any: "any seed", value: (piece) => piece.seed_id },
  { id: "filter-ended", title: "Ended", any: "in any way", value: endingOf },
  {
    id: "filter-screening", title: "Screening", any: "any result", isOptional: true,
    value: (piece) => (piece.is_screened ? (piece.reasons.length ? "rejected" : "passed") : "not screened"),
  },
  {
    id: "filter-marks", title: "Marks", any: "any mark", isFixed: ["kept", "rejected", "not marked"],
    value: (piece) => ({ [KEEP]: "kept", [REJECT]: "rejected" })[MARKS.of(piece).mark] ?? "not marked",
  },
];

class Filters {
  // `onchange` is called after each change.
  constructor(onchange) {
    this.onchange = onchange;
    this.highlightsOnly = true;
    this.text = "";
    this.chosen = new Map(); // value by filter
    const count = DATA.pieces.filter((piece) => piece.is_highlight).length;
    byId("show-highlights").textContent = `Highlights ${whole(count)}`;
    byId("show-all").textContent = `All ${whole(DATA.pieces.length)}`;
    byId("show-highlights").addEventListener("click", () => this.choose(true));
    byId("show-all").addEventListener("click", () => this.choose(false));
    byId("search").addEventListener("input", (event) => {
      this.text = event.target.value.toLowerCase();
      this.choose(this.highlightsOnly && !this.text);
    });
    for (const filter of FILTERS) this.build(filter);
    byId("clear").addEventListener("click", () => { this.clear(); this.onchange(); });
  }

  // A choice of the values that pieces have; without a choice, no filter.
  build(filter) {
    const counts = new Map((filter.isFixed || []).map((value) => [value, null]));
    if (!filter.isFixed) for (const piece of DATA.pieces) counts.set(filter.value(piece), (counts.get(filter.value(piece)) || 0) + 1);
    if (filter.isOptional && counts.size < 2) return;
    const select = html("select", { id: filter.id }, html("option", { value: "" }, filter.any),
      ...[...counts].map(([value, count], place) => html("option", { value: place + 1 }, count === null ? value : `${value} (${whole(count)})`)));
    const values = [...counts.keys()];
    select.addEventListener("change", () => {
      if (select.value) this.chosen.set(filter, values[select.value - 1]);
      else this.chosen.delete(filter);
      this.choose(this.highlightsOnly && !this.chosen.size);
    });
    byId("filters").insertBefore(html("label", {}, html("span", {}, filter.title), select), byId("clear"));
  }

  choose(highlightsOnly) {
    this.highlightsOnly = highlightsOnly;
    this.onchange();
  }

  clear() {
    this.highlightsOnly = false;
    byId("search").value = this.text = "";
    this.chosen.clear();
    for (const { id } of FILTERS) if (byId(id)) byId(id).value = "";
  }

  matches(piece) {
    if (this.highlightsOnly && !piece.is_highlight) return false;
    if (!piece.seed_id.toLowerCase().includes(this.text)) return false;
    return [...this.chosen].every(([filter, value]) => filter.value(piece) === value);
  }

  show() {
    byId("show-highlights").setAttribute("aria-pressed", this.highlightsOnly);
    byId("show-all").setAttribute("aria-pressed", !this.highlightsOnly);
    byId("clear").hidden = !this.text && !this.chosen.size;
  }
}
