// One audio element for all pieces, and the bar at the bottom of the window.

class Player {
  constructor() {
    this.audio = byId("audio");
    this.index = null; // of the current piece
    this.order = () => []; // indexes of the listed pieces
    this.listeners = []; // called with the time in seconds when the time, the piece or the state changes
    this.onpiece = () => {};
    this.objectUrl = null; // of synthesized sound
    this.isSeeking = false;
    const { audio } = this;
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata", "timeupdate"]) {
      audio.addEventListener(name, () => this.tell());
    }
    audio.addEventListener("play", () => this.follow());
    audio.addEventListener("ended", () => this.step(1));
    audio.addEventListener("error", () => this.explain());
    byId("toggle").addEventListener("click", () => this.toggle());
    byId("next").addEventListener("click", () => this.step(1));
    byId("previous").addEventListener("click", () => this.step(-1));
    const position = byId("position");
    position.addEventListener("input", () => {
      this.seek(position.value / 1000 * this.length);
    });
  }

  get piece() { return this.index === null ? null : DATA.pieces[this.index]; }
  get isPlaying() { return !this.audio.paused && !this.audio.ended; }
  get length() { return Number.isFinite(this.audio.duration) ? this.audio.duration : this.piece ? this.piece.seconds : 0; }

  // Makes `index` the current piece; its sound is loaded when it is played.
  choose(index) {
    if (index === this.index) return;
    this.audio.pause();
    this.audio.removeAttribute("src");
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
    this.objectUrl = null;
    this.index = index;
    byId("player-problem").hidden = true;
    this.onpiece(index);
    this.tell();
  }

  load() {
    if (this.audio.hasAttribute("src") || !this.piece || !this.piece.sound) return;
    if (this.piece.sound === "made") this.objectUrl = URL.createObjectURL(synthesize(this.piece));
    this.audio.src = this.objectUrl ?? `data:audio/ogg;base64,${byId(`sound-${this.index}`).textContent}`;
    this.audio.load();
  }

  play(index = this.index) {
    if (index === null || !DATA.pieces[index].sound) return;
    this.choose(index);
    this.load();
    const started = this.audio.play();
    if (started) started.catch(() => {}); // reported by `error`; choosing another piece meanwhile is not an error
  }

  toggle(index = this.index ?? this.order()[0]) {
    if (index === undefined) return;
    if (index === this.index && this.isPlaying) this.audio.pause();
    else this.play(index);
  }

  seek(seconds) {
    if (!this.piece || !this.piece.sound) return;
    this.load();
    const go = () => { this.audio.currentTime = Math.min(seconds, this.length); };
    if (this.audio.readyState >= HTMLMediaElement.HAVE_METADATA) go();
    else this.audio.addEventListener("loadedmetadata", go, { once: true });
  }

  // Moves by `by` among the listed pieces that have sound; keeps playing if it was playing.
  step(by) {
    const order = this.order().filter((index) => DATA.pieces[index].sound);
    const wasPlaying = this.isPlaying || this.audio.ended;
    const position = order.indexOf(this.index);
    const index = order[position < 0 ? 0 : position + by];
    if (index === undefined) return;
    if (wasPlaying) this.play(index);
    else this.choose(index);
  }

  follow() {
    this.tell();
    if (this.isPlaying) requestAnimationFrame(() => this.follow());
  }

  tell() {
    const { audio, piece } = this;
    byId("player").classList.toggle("is-playing", this.isPlaying);
    byId("toggle").setAttribute("aria-label", this.isPlaying ? "Pause" : "Play");
    byId("toggle").disabled = !piece || !piece.sound;
    byId("now").textContent = piece ? `${piece.seed_id}, sample ${piece.sample}` : "";
    byId("clock").textContent = `${clock(audio.currentTime)} / ${clock(this.length)}`;
    const position = byId("position");
    position.disabled = !piece || !piece.sound;
    position.value = this.length ? 1000 * audio.currentTime / this.length : 0;
    position.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(this.length)}`);
    for (const listener of this.listeners) listener(audio.currentTime);
  }

  explain() {
    if (!this.audio.hasAttribute("src")) return;
    const text = byId("player-problem");
    text.textContent = this.audio.canPlayType('audio/ogg; codecs="vorbis"')
      ? "This sound cannot be played."
      : "This browser cannot play Ogg Vorbis.";
    text.hidden = false;
    this.tell();
  }
}
