// Creates the player, the list and the charts, and connects them.

function start() {
  const player = new Player();
  const list = new PieceList(player);
  player.order = () => list.order;
  player.home = () => list.open;
  player.onpiece = (index) => { if (list.open !== index) list.follow(index); };
  let marked = "";
  player.listeners.push(() => {
    const state = `${player.index} ${player.isPlaying}`;
    if (state !== marked) list.mark(); // listeners run on every frame, and there are many rows
    marked = state;
  });
  byId("now").addEventListener("click", () => {
    list.follow(player.index < DATA.pieces.length ? player.index : list.open);
    list.stage.row.scrollIntoView({ block: "center" });
  });
  drawCharts();
  fillExtremes(list);
  connectWork(list);
  if (list.order.length) list.openRow(list.order[0]);
  player.tell();
}

// The bar of marks and downloads.
function connectWork(list) {
  const show = () => {
    const [kept, rejected] = [KEEP, REJECT].map((mark) => MARKS.pieces(mark).length);
    byId("marks-count").textContent = `${whole(kept)} kept, ${whole(rejected)} rejected`
      + (MARKS.isKept ? "" : ". This browser does not store marks: export them before you close the page");
    byId("save-marks").disabled = !MARKS.byName.size;
    byId("save-list").disabled = !kept;
    const inside = list.order.filter((index) => DATA.pieces[index].midi_bytes).length;
    byId("save-zip").disabled = !inside;
    byId("save-zip").textContent = `MIDI of the ${whole(inside)} listed (zip)`;
    const missing = list.order.length - inside;
    byId("missing").hidden = !missing;
    byId("missing").textContent = `${whole(missing)} of the listed pieces ${missing === 1 ? "is" : "are"} not inside this page, which holds 16 MB of MIDI files at most.`;
  };
  byId("save-marks").addEventListener("click", () => attempt(() => save("marks.csv", MARKS.csv(), "text/csv")));
  byId("save-list").addEventListener("click", () => attempt(() => save("kept.txt", MARKS.list(), "text/plain")));
  byId("save-zip").addEventListener("click", () => attempt(() => saveZip(list.order)));
  MARKS.listeners.push(() => { list.markChanged(); show(); });
  list.onlist = show;
  show();
}

start();
