// One audio element for all pieces, and the bar at the bottom of the window.

class Player {
  constructor() {
    this.audio = byId("audio");
    this.index = null; // of the current piece
    this.order = () => []; // indexes of the listed pieces
    this.listeners = []; // called with the time in seconds when the time, the piece or the state changes
    this.onpiece = () => {};
    this.objectUrl = null; // of synthesized sound
    this.home = () => null; // index of the open piece, which a seed's own piece is beside
    this.canPlayVorbis = this.audio.canPlayType('audio/ogg; codecs="vorbis"') !== "";
    const { audio } = this;
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata", "timeupdate"]) {
      audio.addEventListener(name, () => this.tell());
    }
    audio.addEventListener("play", () => this.follow());
    audio.addEventListener("ended", () => { if (this.index < DATA.pieces.length) this.step(1); });
    audio.addEventListener("error", () => this.explain());
    byId("toggle").addEventListener("click", () => this.toggle());
    byId("next").addEventListener("click", () => this.step(1));
    byId("previous").addEventListener("click", () => this.step(-1));
    const position = byId("position");
    position.addEventListener("input", () => {
      this.seek(position.value / 1000 * this.length);
    });
  }

  get piece() { return this.index === null ? null : TRACKS[this.index]; }
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
    const isInside = this.piece.sound === "inside";
    if (isInside && !this.canPlayVorbis) this.say("This browser cannot play Ogg Vorbis: the page synthesizes the sound instead.");
    if (!isInside || !this.canPlayVorbis) this.objectUrl = URL.createObjectURL(synthesize(this.piece));
    this.audio.src = this.objectUrl ?? `data:audio/ogg;base64,${byId(`sound-${this.index}`).textContent}`;
    this.audio.load();
  }

  play(index = this.index) {
    if (index === null || !TRACKS[index].sound) return;
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
    const position = order.indexOf(this.index < DATA.pieces.length ? this.index : this.home());
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
    if (this.named !== piece) byId("now").replaceChildren(...(piece ? titleParts(piece) : []));
    this.named = piece;
    byId("clock").textContent = `${clock(audio.currentTime)} / ${clock(this.length)}`;
    const position = byId("position");
    position.disabled = !piece || !piece.sound;
    position.value = this.length ? 1000 * audio.currentTime / this.length : 0;
    position.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(this.length)}`);
    for (const listener of this.listeners) listener(audio.currentTime);
  }

  // Vorbis that the browser cannot play after all is replaced by synthesized sound.
  explain() {
    if (!this.audio.hasAttribute("src")) return;
    if (this.piece.sound !== "inside" || !this.canPlayVorbis) {
      this.say("This sound cannot be played.");
      return;
    }
    this.canPlayVorbis = false;
    this.audio.removeAttribute("src");
    this.play();
  }

  say(text) {
    byId("player-problem").textContent = text;
    byId("player-problem").hidden = false;
  }
}
