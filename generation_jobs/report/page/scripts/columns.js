// What pieces can be sorted by: the columns of the list, and measures, which are shown while the list is sorted by them.

const CHECKS = DATA.checks;

const COLUMNS = [
  { key: "name", title: "Piece", text: true, value: (piece) => piece.seed_id, ascending: true },
  { key: "seconds", title: "Length (min:s)", value: (piece) => piece.seconds, show: (piece) => clock(piece.seconds) },
  { key: "notes", title: "Notes", value: (piece) => piece.num_notes, show: (piece) => whole(piece.num_notes) },
  {
    key: "distance", title: `Distance from the ${DATA.likeness} (nats)`, value: (piece) => piece.distance, ascending: true,
    show: (piece) => decimal(piece.distance),
  },
  {
    key: "likelihood", title: "Log\u2011likelihood (nats per note)", value: (piece) => piece.log_likelihood_per_note,
    show: (piece) => decimal(piece.log_likelihood_per_note),
  },
  ...CHECKS.map(({ name, title }) => ({
    key: name, isCheck: true, title: title ?? checkTitle(name), value: (piece) => piece.checks[name],
    show: (piece) => checkText(name, piece.checks[name]),
  })),
  ...DATA.measures.map((measure, index) => ({
    key: measure.name, isExtra: true, title: measureTitle(measure), corpus: measure.corpus, measure,
    value: (piece) => piece.figures[index], show: (piece) => figureText(measure, piece.figures[index]),
  })),
];
const TABLE_COLUMNS = COLUMNS.filter((column) => !column.isExtra);
