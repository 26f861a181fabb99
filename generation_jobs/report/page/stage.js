// The open piece: a large piano roll with a cursor, a legend, and its details.

class Stage {
  constructor(player) {
    this.player = player;
    this.index = null;
    const canvas = html("canvas", { tabindex: "0", role: "img", id: "roll", "aria-describedby": "roll-help" });
    this.cursor = html("div", { class: "cursor", hidden: true });
    this.legend = html("div", { class: "stage-legend" });
    this.details = html("p", { class: "note" });
    this.roll = new Roll(canvas);
    const tool = (text, label, action) => html("button", { type: "button", "aria-label": label, onclick: action }, text);
    this.row = html("tr", { class: "stage-row" }, html("td", { class: "stage-cell", colspan: TABLE_COLUMNS.length + 3 },
      html("div", { class: "stage" },
        html("div", { class: "stage-head" }, this.legend, html("div", { class: "tools" },
          tool("−", "Zoom out", () => this.roll.zoom(1 / 1.6)),
          tool("+", "Zoom in", () => this.roll.zoom(1.6)),
          tool("Fit", "Show the whole piece", () => this.roll.fit()))),
        html("div", { class: "roll" }, canvas, this.cursor),
        this.details,
        html("p", { class: "note", id: "roll-help" },
          html("span", { class: "for-mouse" }, "Click to play from there, drag to move. After a click: the wheel zooms (with Shift "
            + "it moves), + − 0 zoom, ← → move, and Space plays."),
          html("span", { class: "for-touch" }, "Tap to play from there, drag to move, pinch to zoom.")))));
    makeZoomable(this.roll, {
      seek: (seconds) => { player.choose(this.index); player.seek(seconds); },
      toggle: () => player.toggle(this.index),
    });
    this.roll.onview = () => this.placeCursor(player.audio.currentTime, false);
    onAppearance(canvas, () => this.roll.draw());
    player.listeners.push((seconds) => this.placeCursor(seconds, player.isPlaying));
  }

  show(index) {
    if (this.index === index && this.row.isConnected) return;
    this.index = index;
    const piece = DATA.pieces[index];
    this.roll.canvas.setAttribute("aria-label", `Piano roll of ${piece.seed_id}, sample ${piece.sample}: ${whole(piece.num_notes)} notes in ${clock(piece.seconds)}`);
    this.roll.show(piece);
    this.legend.replaceChildren(...this.legendOf(piece));
    this.details.replaceChildren(...this.detailsOf(piece));
  }

  hide() {
    this.row.remove();
    this.index = null;
  }

  legendOf(piece) {
    const entry = (color, text) => {
      const key = html("span", { class: "key" });
      key.style.background = `var(${color})`;
      return html("span", {}, key, text);
    };
    const present = new Set(notesOf(piece).program.subarray(piece.num_primer_notes));
    const entries = DATA.programs.filter((known) => present.has(known.program))
      .map((known) => entry(`--voice-${voiceOf(known.program)}`, known.name));
    if (piece.num_primer_notes) entries.unshift(entry("--primer", `primer, ${whole(piece.num_primer_notes)} notes`));
    return entries;
  }

  detailsOf(piece) {
    const facts = [
      ...(piece.reasons.length ? [`rejected for ${piece.reasons.map((name) => checkTitle(name).toLowerCase()).join(", ")}`] : []),
      ...(piece.num_rejected ? [`made after ${whole(piece.num_rejected)} rejected attempts`] : []),
      piece.ended === true ? "ended by itself" : piece.ended ? `ended: ${piece.ended}` : "stopped at a limit",
      ...Object.entries(piece.settings).filter(([, value]) => value !== null).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`),
      ...DATA.checks.map((name) => `${checkTitle(name).toLowerCase()} ${checkText(name, piece.checks[name])}`),
      ...DATA.measures.map((measure, index) => `${measure.title.toLowerCase()} ${decimal(piece.figures[index], 3)}`),
    ];
    const file = piece.link ? html("a", { href: piece.link, download: true }, "MIDI file") : piece.path;
    const cut = piece.is_cut ? [`; the sound is faded out after ${clock(DATA.max_sound_seconds)}`] : [];
    return [`${facts.join(" · ")} · `, file, ...cut];
  }

  placeCursor(seconds, isPlaying) {
    const { roll, cursor } = this;
    const isHere = this.row.isConnected && this.player.index === this.index;
    if (isHere && isPlaying && !roll.isWhole && (seconds > roll.to || seconds < roll.from)) {
      roll.look(seconds, seconds + roll.to - roll.from); // the next page
      return;
    }
    const isVisible = isHere && roll.piece && seconds >= roll.from && seconds <= roll.to;
    cursor.hidden = !isVisible;
    if (isVisible) cursor.style.transform = `translateX(${roll.xOf(seconds)}px)`;
  }
}
