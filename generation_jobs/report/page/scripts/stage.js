// The open piece: its mark and note, a large piano roll with a cursor, the seed's own piece below it, and its details.

const LEGEND_ENTRIES = 8;

class Stage {
  constructor(player) {
    this.player = player;
    this.index = null;
    this.roll = this.makeRoll("roll", () => this.index);
    this.originalRoll = this.makeRoll("original-roll", () => this.originalIndex);
    this.rolls = [this.roll, this.originalRoll];
    this.rolls.forEach((roll, place) => {
      const other = this.rolls[1 - place];
      roll.onview = () => {
        if (other.piece && (other.from !== roll.from || other.to !== roll.to)) other.look(roll.from, roll.to);
        this.placeCursor(player.audio.currentTime, false);
      };
    });
    this.legend = html("div", { class: "stage-legend" });
    this.facts = html("dl", { class: "stage-facts" });
    this.work = html("div", { class: "stage-work" });
    this.original = html("div", { class: "original" }, html("div", { class: "original-head" }), this.originalRoll.frame);
    const tool = (text, label, action) => html("button", { type: "button", "aria-label": label, onclick: action }, text);
    this.row = html("tr", { class: "stage-row" }, html("td", { class: "stage-cell", colspan: TABLE_COLUMNS.length + 4 },
      html("div", { class: "stage" },
        html("div", { class: "stage-head" }, this.work, html("div", { class: "tools" },
          tool("−", "Zoom out", () => this.roll.zoom(1 / 1.6)),
          tool("+", "Zoom in", () => this.roll.zoom(1.6)),
          tool("Fit", "Show the whole piece", () => this.roll.fit()))),
        this.legend, this.roll.frame, this.original, this.facts,
        html("p", { class: "note", id: "roll-help" },
          html("span", { class: "for-mouse" }, "Click to play from there, drag to move. After a click: the wheel zooms (with Shift "
            + "it moves), + − 0 zoom, ← → move, Space plays, K keeps and R rejects. "),
          html("span", { class: "for-touch" }, "Tap to play from there, drag to move, pinch to zoom. "),
          this.bars = html("span")))));
    player.listeners.push((seconds) => this.placeCursor(seconds, player.isPlaying));
  }

  // A roll with a cursor; `track` gives the index of what it shows.
  makeRoll(id, track) {
    const { player } = this;
    const canvas = html("canvas", { tabindex: "0", role: "img", id, "aria-describedby": "roll-help" });
    const roll = new Roll(canvas);
    roll.cursor = html("div", { class: "cursor", hidden: true });
    roll.frame = html("div", { class: "roll" }, canvas, roll.cursor);
    roll.track = track;
    const mark = (name) => () => MARKS.change(DATA.pieces[this.index], { mark: name });
    makeZoomable(roll, {
      seek: (seconds) => { player.choose(track()); player.seek(seconds); },
      toggle: () => player.toggle(track()),
      keys: { k: mark(KEEP), r: mark(REJECT) },
    });
    onAppearance(canvas, () => roll.draw());
    return roll;
  }

  get originalIndex() { return DATA.pieces.length + DATA.pieces[this.index].original; }

  show(index) {
    if (this.index === index && this.row.isConnected) return;
    this.index = index;
    const piece = DATA.pieces[index];
    const original = piece.original === null ? null : DATA.originals[piece.original];
    const end = Math.max(piece.seconds, original ? Math.min(original.seconds, 2 * piece.seconds) : 0);
    for (const [roll, shown] of [[this.roll, piece], [this.originalRoll, original]]) {
      roll.piece = null; // so that the other roll does not move it yet
      if (shown) roll.canvas.setAttribute("aria-label", `Piano roll of ${pieceTitle(shown)}: ${whole(shown.num_notes)} notes in ${clock(shown.seconds)}`);
    }
    this.original.hidden = !original;
    this.roll.show(piece, end);
    if (original) {
      this.originalRoll.show(original, end);
      this.original.firstChild.replaceChildren(...this.originalHead(original));
    }
    this.work.replaceChildren(...this.workOf(piece));
    this.legend.replaceChildren(...this.legendOf(piece));
    this.facts.replaceChildren(...this.factsOf(piece));
    this.bars.textContent = piece.metre_note;
  }

  hide() {
    this.row.remove();
    this.index = null;
  }

  workOf(piece) {
    this.buttons = markButtons(piece, true);
    this.note = html("input", {
      type: "text", class: "mark-note", "aria-label": `Note on ${pieceTitle(piece)}`, placeholder: "Note", autocomplete: "off", maxlength: 500,
      onchange: (event) => MARKS.change(piece, { note: event.target.value }),
    });
    this.note.value = MARKS.of(piece).note;
    return [this.buttons, this.note, ...this.fileOf(piece)];
  }

  showMark() {
    if (this.index === null) return;
    refreshMarks(this.buttons, DATA.pieces[this.index]);
    if (document.activeElement !== this.note) this.note.value = MARKS.of(DATA.pieces[this.index]).note;
  }

  // The piece's file: inside the page, or beside it if it is still there.
  fileOf(piece) {
    const { index } = this;
    if (piece.midi_bytes) return [html("button", { type: "button", onclick: () => attempt(() => saveMidi(index)) }, "MIDI file")];
    const text = "The MIDI file is not inside this page";
    if (!piece.link) return [html("span", { class: "note" }, `${text}: ${piece.path}`)];
    return [html("a", { href: piece.link, download: true }, "MIDI file"), html("span", { class: "note" }, `${text}, but beside it, unless the page was moved`)];
  }

  originalHead(original) {
    const at = original.at_note ? `, from note ${whole(original.at_note + 1)}` : "";
    const index = this.originalIndex;
    return [
      html("button", { type: "button", "aria-label": "Play the seed's own piece", onclick: () => this.player.toggle(index) }, "Play"),
      html("span", {}, html("b", {}, "How the seed's own piece continues: "), `${original.source} (${original.split} split${at})`),
    ];
  }

  legendOf(piece) {
    const entry = (color, text) => {
      const key = html("span", { class: "key" });
      key.style.background = `var(${color})`;
      return html("span", {}, key, text);
    };
    const counts = new Map();
    for (const program of notesOf(piece).program.subarray(piece.num_primer_notes)) counts.set(program, (counts.get(program) || 0) + 1);
    const entries = DATA.programs.filter((known) => counts.has(known.program))
      .sort((a, b) => counts.get(b.program) - counts.get(a.program))
      .map((known) => entry(`--voice-${voiceOf(known.program)}`, known.name));
    if (piece.num_primer_notes) entries.unshift(entry("--primer", `primer, ${whole(piece.num_primer_notes)} notes`));
    if (entries.length <= LEGEND_ENTRIES + 1) return entries;
    const rest = html("details", {}, html("summary", {}, `and ${whole(entries.length - LEGEND_ENTRIES)} more`), ...entries.splice(LEGEND_ENTRIES));
    return [...entries, rest];
  }

  factsOf(piece) {
    const facts = [
      ["ended", endingOf(piece)],
      ...(piece.reasons.length ? [["rejected for", piece.reasons.map((name) => checkTitle(name).toLowerCase()).join(", ")]] : []),
      ...(piece.num_rejected ? [["made after", `${whole(piece.num_rejected)} rejected attempts`]] : []),
      ...DATA.checks.map(({ name, title }) => [title ?? checkTitle(name), checkText(name, piece.checks[name])]),
      ...DATA.measures.map((measure, index) => [measureTitle(measure), figureText(measure, piece.figures[index])]),
      ...Object.entries(piece.settings).map(([name, value]) => [name.replaceAll("_", " "), value]),
      ...(piece.is_cut ? [["sound", `fades out after ${clock(DATA.max_sound_seconds)}`]] : []),
    ];
    return facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)));
  }

  placeCursor(seconds, isPlaying) {
    if (this.index === null) return;
    for (const roll of this.rolls) {
      const isHere = this.row.isConnected && roll.piece && this.player.index === roll.track();
      if (isHere && isPlaying && !roll.isWhole && (seconds > roll.to || seconds < roll.from)) {
        roll.look(seconds, seconds + roll.to - roll.from); // the next page
        return;
      }
      const isVisible = isHere && seconds >= roll.from && seconds <= roll.to;
      roll.cursor.hidden = !isVisible;
      if (isVisible) roll.cursor.style.transform = `translateX(${roll.xOf(seconds)}px)`;
    }
  }
}
