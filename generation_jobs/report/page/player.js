// One audio element for all pieces, and the bar at the bottom of the window.

class Player {
  constructor() {
    this.audio = byId("audio");
    this.index = null; // of the piece that is loaded
    this.order = () => []; // indexes of the pieces that the list shows
    this.listeners = []; // called with the time in seconds whenever it, the piece or the state changes
    this.onpiece = () => {};
    this.made = null; // address of a sound that was made here
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

  // Makes `index` the piece at hand without loading its sound: that waits until it is played.
  choose(index) {
    if (index === this.index) return;
    this.audio.pause();
    this.audio.removeAttribute("src");
    if (this.made) URL.revokeObjectURL(this.made);
    this.made = null;
    this.index = index;
    byId("player-problem").hidden = true;
    this.onpiece(index);
    this.tell();
  }

  load() {
    if (this.audio.hasAttribute("src") || !this.piece || !this.piece.sound) return;
    if (this.piece.sound === "made") this.made = URL.createObjectURL(synthesize(this.piece));
    this.audio.src = this.made ?? `data:audio/ogg;base64,${byId(`sound-${this.index}`).textContent}`;
    this.audio.load();
  }

  play(index = this.index) {
    if (index === null || !DATA.pieces[index].sound) return;
    this.choose(index);
    this.load();
    const started = this.audio.play();
    if (started) started.catch(() => {}); // `error` says why, and a choice made meanwhile is none
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

  // To the next or the previous piece of the list that has sound; goes on playing if it did.
  step(by) {
    const order = this.order().filter((index) => DATA.pieces[index].sound);
    const wasPlaying = this.isPlaying || this.audio.ended;
    const place = order.indexOf(this.index);
    const index = order[place < 0 ? 0 : place + by];
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
      ? "The sound cannot be played."
      : "This browser does not play Ogg Vorbis.";
    text.hidden = false;
    this.tell();
  }
}
