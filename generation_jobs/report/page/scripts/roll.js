// A piano roll on a canvas: time from left to right, pitch from bottom to top, one rectangle per note.

const MIN_BEAT_PIXELS = 10;
const MIN_BAR_PIXELS = 40;
const MAX_BARS = 20000;
const GUTTER = 38; // pixels, for pitch names
const RULER = 20; // pixels, for times
const BLACK_KEYS = new Set([1, 3, 6, 8, 10]);
const TIME_STEPS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
const MIN_VIEW_SECONDS = 0.25;
const MIN_PITCHES = 24;
const DRAG_PIXELS = 4; // a shorter drag is a click

// The bars of a piece up to `end` seconds: start and length in seconds, and the number of beats.
function barsOf(piece, end) {
  const bars = [], { seconds_per_quarter: quarter, metre } = piece;
  metre.forEach(({ from, quarters, beats }, place) => {
    const until = place + 1 < metre.length ? metre[place + 1].from : end / quarter;
    for (let at = from; at < until - 1e-6 && bars.length < MAX_BARS; at += quarters) {
      bars.push({ start: at * quarter, seconds: quarters * quarter, beats });
    }
  });
  return bars;
}

class Roll {
  // `small` draws only the notes, for the list.
  constructor(canvas, { small = false } = {}) {
    this.canvas = canvas;
    this.gutter = small ? 0 : GUTTER;
    this.ruler = small ? 0 : RULER;
    this.small = small;
    this.piece = null;
    this.onview = () => {};
  }

  // `end`: how many seconds the roll has room for, if not the piece's length.
  show(piece, end = piece.seconds) {
    this.piece = piece;
    this.notes = notesOf(piece);
    const { pitch } = this.notes;
    let low = 127, high = 0;
    for (const value of pitch) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const missing = Math.max(0, MIN_PITCHES - (high - low + 3));
    this.low = pitch.length ? low - 1 - Math.floor(missing / 2) : 48;
    this.high = pitch.length ? high + 1 + Math.ceil(missing / 2) : 72;
    this.end = Math.max(end, 1);
    this.bars = this.small ? [] : barsOf(piece, this.end);
    this.fit();
  }

  fit() { this.look(0, this.end); }

  // Shows the seconds `from` to `to`, limited to the piece.
  look(from, to) {
    const length = Math.min(Math.max(to - from, MIN_VIEW_SECONDS), this.end);
    this.from = Math.min(Math.max(from, 0), this.end - length);
    this.to = this.from + length;
    this.draw();
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    this.look(around - (around - this.from) / factor, around + (this.to - around) / factor);
  }

  pan(seconds) { this.look(this.from + seconds, this.from + seconds + (this.to - this.from)); }

  get isWhole() { return this.to - this.from >= this.end - 1e-6; }
  get scale() { return (this.width - this.gutter) / (this.to - this.from); }
  xOf(seconds) { return this.gutter + (seconds - this.from) * this.scale; }
  secondsAt(x) { return this.from + (x - this.gutter) / this.scale; }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    if (!this.piece || !this.width) return;
    canvas.width = Math.round(this.width * ratio);
    canvas.height = Math.round(this.height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const palette = colors();
    this.rowHeight = (this.height - this.ruler) / (this.high - this.low + 1);
    if (!this.small) this.drawGrid(context, palette);
    if (!this.small) this.drawRuler(context, palette);
    this.drawNotes(context, palette);
    canvas.dataset.view = `${this.from.toFixed(3)} ${this.to.toFixed(3)}`;
    this.onview();
  }

  yOf(pitch) { return (this.high - pitch) * this.rowHeight; }

  drawGrid(context, palette) {
    context.fillStyle = palette.get("--shade");
    for (let pitch = this.low; pitch <= this.high; pitch++) {
      if (BLACK_KEYS.has(pitch % 12)) context.fillRect(this.gutter, this.yOf(pitch), this.width, this.rowHeight);
    }
    if (this.piece.primer_end > this.from) {
      context.fillStyle = palette.get("--primer-band");
      context.fillRect(this.gutter, 0, this.xOf(this.piece.primer_end) - this.gutter, this.height - this.ruler);
    }
    context.strokeStyle = palette.get("--line");
    context.fillStyle = palette.get("--muted");
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let pitch = this.low; pitch <= this.high; pitch++) {
      if (pitch % 12) continue;
      const y = Math.round(this.yOf(pitch) + this.rowHeight) + 0.5;
      context.beginPath();
      context.moveTo(this.gutter, y);
      context.lineTo(this.width, y);
      context.stroke();
      context.fillText(`C${pitch / 12 - 1}`, this.gutter - 7, Math.max(7, y - this.rowHeight / 2));
    }
  }

  drawNotes(context, palette) {
    const { start, duration, pitch, velocity, program } = this.notes;
    const { from, to, scale, piece } = this;
    const voices = new Map(DATA.programs.map((known, index) => [known.program, palette.voices[index % NUM_VOICES]]));
    const primer = palette.get("--primer");
    const height = Math.max(1.5, this.rowHeight > 5 ? this.rowHeight - 1 : this.rowHeight);
    const isRound = height > 5 && start.length < 5000;
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, this.width, this.height - this.ruler);
    context.clip();
    for (let index = 0; index < start.length; index++) {
      const begin = start[index] / 1000, length = duration[index] / 1000;
      if (begin > to) break; // starts ascend
      if (begin + length < from && begin < from) continue;
      context.fillStyle = index < piece.num_primer_notes ? primer : voices.get(program[index]);
      context.globalAlpha = 0.4 + 0.6 * velocity[index] / 127;
      const x = this.xOf(begin), width = Math.max(this.small ? 1 : 2, length * scale - 0.5);
      if (isRound && width > 5) {
        context.beginPath();
        context.roundRect(x, this.yOf(pitch[index]), width, height, 2);
        context.fill();
      } else {
        context.fillRect(x, this.yOf(pitch[index]), width, height);
      }
    }
    context.restore();
  }

  drawRuler(context, palette) {
    const bottom = this.height - this.ruler;
    context.globalAlpha = 1;
    context.fillStyle = palette.get("--muted");
    context.textBaseline = "middle";
    if (this.bars.length) this.drawBars(context, palette, bottom);
    else this.drawTimes(context, palette, bottom);
    if (!this.isWhole) { // the position of this view in the piece
      const full = this.width - this.gutter;
      context.fillStyle = palette.get("--accent");
      context.fillRect(this.gutter + full * this.from / this.end, this.height - 3, Math.max(8, full * (this.to - this.from) / this.end), 3);
    }
  }

  // Bars with their numbers, and beats where there is room.
  drawBars(context, palette, bottom) {
    const line = (seconds, end, color) => {
      const x = Math.round(this.xOf(seconds)) + 0.5;
      context.strokeStyle = palette.get(color);
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, end);
      context.stroke();
    };
    context.textAlign = "left";
    const { bars } = this, shown = [];
    const mean = this.end / Math.max(1, bars.length) * this.scale; // pixels
    const every = 2 ** Math.max(0, Math.ceil(Math.log2(MIN_BAR_PIXELS / mean)));
    bars.forEach(({ start, seconds, beats }, count) => {
      if (start > this.to || start + seconds < this.from) return;
      for (let beat = 1; beat < beats && seconds / beats * this.scale >= MIN_BEAT_PIXELS; beat++) {
        line(start + beat * seconds / beats, bottom, "--beat");
      }
      if (count % every || start < this.from) return;
      line(start, this.height - 6, "--bar");
      context.fillText(String(count + 1), this.xOf(start) + 4, bottom + 12);
      shown.push(count + 1);
    });
    this.canvas.dataset.bars = shown.join(" ");
  }

  drawTimes(context, palette, bottom) {
    const step = TIME_STEPS.find((seconds) => seconds * this.scale >= 64) || 1200;
    context.strokeStyle = palette.get("--line");
    for (let count = Math.ceil(this.from / step); count * step <= this.to; count++) {
      const x = this.xOf(count * step);
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, 0);
      context.lineTo(Math.round(x) + 0.5, bottom + 4);
      context.stroke();
      const seconds = count * step;
      const text = step < 1 ? `${clock(seconds)}${(seconds % 1).toFixed(step < 0.1 ? 2 : 1).slice(1)}` : clock(seconds);
      context.textAlign = x > this.width - 24 ? "right" : "center";
      context.fillText(text, x, bottom + 12);
    }
  }
}

// Zoom and pan with wheel, drag, two fingers and keys; a click calls `seek(seconds)`.
function makeZoomable(roll, { seek, toggle, keys = {} }) {
  const { canvas } = roll;
  const pointers = new Map(); // pressed pointers: id to x
  let dragged = 0;
  const secondsAt = (event) => roll.secondsAt(event.clientX - canvas.getBoundingClientRect().left);

  canvas.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      roll.pan(sideways / roll.scale);
    } else if (event.ctrlKey || event.metaKey || document.activeElement === canvas) {
      event.preventDefault(); // otherwise the wheel scrolls the page past the roll
      roll.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), secondsAt(event));
    }
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, event.clientX);
    if (pointers.size === 1) dragged = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, event.clientX);
    const after = [...pointers.values()];
    dragged += Math.abs(after[0] - before[0]);
    if (pointers.size === 1) {
      if (dragged < DRAG_PIXELS) return;
      canvas.classList.add("dragging");
      roll.pan((before[0] - after[0]) / roll.scale);
    } else {
      dragged = Infinity;
      const left = canvas.getBoundingClientRect().left;
      const spread = (xs) => Math.max(20, Math.abs(xs[0] - xs[1]));
      const middle = (xs) => (xs[0] + xs[1]) / 2 - left;
      roll.pan((middle(before) - middle(after)) / roll.scale);
      roll.zoom(spread(after) / spread(before), roll.secondsAt(middle(after)));
    }
  });
  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    canvas.classList.remove("dragging");
    if (event.type === "pointerup" && !pointers.size && dragged < DRAG_PIXELS) seek(Math.max(0, secondsAt(event)));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const view = roll.to - roll.from;
    const actions = {
      ArrowLeft: () => roll.pan(-view / 8), ArrowRight: () => roll.pan(view / 8),
      PageUp: () => roll.pan(-view), PageDown: () => roll.pan(view),
      Home: () => roll.look(0, view), End: () => roll.look(roll.end - view, roll.end),
      "+": () => roll.zoom(1.5), "=": () => roll.zoom(1.5), "-": () => roll.zoom(1 / 1.5),
      0: () => roll.fit(), " ": toggle, Enter: toggle, ...keys,
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
}
