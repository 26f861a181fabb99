// A simple synthesizer for pieces whose sound is not in the page: decaying harmonics, and noise for drums.

const SAMPLE_RATE = 22050; // samples per second
const HARMONICS = [1, 0.5, 0.28, 0.16, 0.09];
const DRUM_PROGRAM = 128;

// A mono WAV file of 16 bits. Each sample of a sine comes from the two before it, with two multiplications.
function synthesize(piece) {
  const notes = notesOf(piece);
  const seconds = Math.min(piece.seconds, DATA.max_sound_seconds) + 0.5;
  const samples = new Float32Array(Math.ceil(seconds * SAMPLE_RATE));
  for (let index = 0; index < notes.start.length; index++) {
    const first = Math.round(notes.start[index] / 1000 * SAMPLE_RATE);
    if (first >= samples.length) break;
    const gain = (notes.velocity[index] / 127) ** 1.5;
    if (notes.program[index] === DRUM_PROGRAM) addDrum(samples, first, notes.pitch[index], gain);
    else addTone(samples, first, Math.round(notes.duration[index] / 1000 * SAMPLE_RATE), notes.pitch[index], gain);
  }
  let peak = 1e-9;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return wavOf(samples, 0.9 / peak);
}

function addTone(samples, first, length, pitch, gain) {
  const hertz = 440 * 2 ** ((pitch - 69) / 12), release = Math.round(0.08 * SAMPLE_RATE);
  const last = Math.min(samples.length, first + length + release), attack = 0.006 * SAMPLE_RATE;
  HARMONICS.forEach((share, order) => {
    const frequency = hertz * (order + 1);
    if (frequency > SAMPLE_RATE / 2) return;
    const turn = 2 * Math.cos(2 * Math.PI * frequency / SAMPLE_RATE);
    const fading = Math.exp(-(1.1 + 0.5 * order) * Math.sqrt(hertz / 440) / SAMPLE_RATE);
    let before = -Math.sin(2 * Math.PI * frequency / SAMPLE_RATE), now = 0, level = gain * share;
    for (let at = first; at < last; at++) {
      const elapsed = at - first, left = last - at;
      samples[at] += now * level * Math.min(1, elapsed / attack, left / release);
      [before, now] = [now, turn * now - before];
      level *= fading;
    }
  });
}

function addDrum(samples, first, pitch, gain) {
  const last = Math.min(samples.length, first + Math.round(0.25 * SAMPLE_RATE));
  const smooth = Math.max(0, 60 - pitch) / 70, fading = Math.exp(-(12 + 0.25 * pitch) / SAMPLE_RATE);
  let word = pitch + 1, level = 0.6 * gain, noise = 0;
  for (let at = first; at < last; at++) {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0; // the same noise every time
    noise = smooth * noise + (1 - smooth) * (word / 2 ** 31 - 1);
    samples[at] += level * noise;
    level *= fading;
  }
}

function wavOf(samples, scale) {
  const bytes = new ArrayBuffer(44 + 2 * samples.length), view = new DataView(bytes);
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true);
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, 2 * SAMPLE_RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  const out = new Int16Array(bytes, 44);
  for (let index = 0; index < samples.length; index++) out[index] = Math.round(32767 * scale * samples[index]);
  return new Blob([bytes], { type: "audio/wav" });
}
