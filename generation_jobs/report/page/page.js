// Puts the parts together.

function start() {
  const player = new Player();
  const list = new PieceList(player);
  player.order = () => list.order;
  player.onpiece = (index) => { if (list.open !== index) list.follow(index); };
  let marked = "";
  player.listeners.push(() => {
    const state = `${player.index} ${player.isPlaying}`;
    if (state !== marked) list.mark(); // told at every frame, and rows are many
    marked = state;
  });
  byId("now").addEventListener("click", () => {
    list.follow(player.index);
    list.stage.row.scrollIntoView({ block: "center" });
  });
  drawCharts();
  fillExtremes(list);
  if (list.order.length) list.openRow(list.order[0]);
  player.tell();
}

start();
