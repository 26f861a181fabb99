// Marks: a piece is kept, rejected or neither, and may have a note. They stay in this browser, and export as lists.

const KEEP = "keep", REJECT = "reject";

class Marks {
  constructor() {
    this.key = `midi-lstm report ${DATA.identity}`;
    this.isKept = true; // whether the browser stores them
    this.listeners = [];
    this.load();
    window.addEventListener("storage", (event) => { // changed in another tab
      if (event.key !== this.key) return;
      this.load();
      this.tell();
    });
  }

  load() {
    this.byName = new Map();
    let stored = null;
    try {
      stored = localStorage.getItem(this.key);
    } catch {
      this.isKept = false;
    }
    try {
      for (const [name, { mark, note }] of JSON.parse(stored) || []) {
        this.byName.set(name, { mark: mark === KEEP || mark === REJECT ? mark : "", note: String(note) });
      }
    } catch {
      this.byName.clear(); // another program wrote it
    }
  }

  of(piece) { return this.byName.get(piece.name) || { mark: "", note: "" }; }

  // Changes the mark or the note; the mark that a piece has already is taken off.
  change(piece, { mark, note }) {
    const now = { ...this.of(piece) };
    if (mark !== undefined) now.mark = now.mark === mark ? "" : mark;
    if (note !== undefined) now.note = note.trim();
    if (now.mark || now.note) this.byName.set(piece.name, now);
    else this.byName.delete(piece.name);
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.byName]));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
    this.tell();
  }

  tell() { for (const listener of this.listeners) listener(); }

  pieces(mark) { return DATA.pieces.filter((piece) => this.of(piece).mark === mark); }

  // A table of all marked pieces; `merge --select` and `render --select` take the kept ones.
  csv() {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const rows = DATA.pieces.filter((piece) => this.byName.has(piece.name))
      .map((piece) => [piece.name, this.of(piece).mark, this.of(piece).note, piece.path]);
    return [["piece", "mark", "note", "path"], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
  }

  list() { return this.pieces(KEEP).map((piece) => `${piece.name}\n`).join(""); }
}

const MARKS = new Marks();

// The two buttons of a piece; `refreshMarks` shows its state.
function markButtons(piece, withText = false) {
  const button = (mark, word, path) => html("button", {
    type: "button", class: `mark ${mark}`, "aria-label": `${word} ${pieceTitle(piece)}`, title: word, "aria-pressed": "false",
    onclick: () => MARKS.change(piece, { mark }),
  }, icon([path]), ...(withText ? [` ${word}`] : []));
  const group = html("span", { class: "marks" }, button(KEEP, "Keep", CHECK), button(REJECT, "Reject", CROSS));
  refreshMarks(group, piece);
  return group;
}

function refreshMarks(group, piece) {
  for (const button of group.children) {
    button.setAttribute("aria-pressed", button.classList.contains(MARKS.of(piece).mark || "none"));
  }
}
