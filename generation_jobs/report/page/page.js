// Creates the player, the list and the charts, and connects them.

function start() {
  const player = new Player();
  const list = new PieceList(player);
  player.order = () => list.order;
  player.onpiece = (index) => { if (list.open !== index) list.follow(index); };
  let marked = "";
  player.listeners.push(() => {
    const state = `${player.index} ${player.isPlaying}`;
    if (state !== marked) list.mark(); // listeners run on every frame, and there are many rows
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
