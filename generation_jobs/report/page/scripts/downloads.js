// Downloads made in the page: the `.mid` files that are inside it, one or many in a zip file, and lists of marks.

const MAX_ZIP_FILES = 65535;
const MIDI_STARTS = []; // where each piece's file begins
let midiSize = 0;
for (const piece of DATA.pieces) {
  MIDI_STARTS.push(midiSize);
  midiSize += piece.midi_bytes;
}
let unpacked = null;

// All files, one after another; unpacked once, when they are first needed.
function unpackMidi() {
  unpacked ??= (async () => {
    const packed = Uint8Array.from(atob(byId("midi-files").textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  })();
  return unpacked;
}

async function midiOf(index) {
  return (await unpackMidi()).subarray(MIDI_STARTS[index], MIDI_STARTS[index] + DATA.pieces[index].midi_bytes);
}

function save(name, data, type) {
  const address = URL.createObjectURL(new Blob([data], { type }));
  html("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function saveMidi(index) {
  save(`${DATA.pieces[index].name}.mid`, await midiOf(index), "audio/midi");
}

async function saveZip(indexes) {
  const inside = indexes.filter((index) => DATA.pieces[index].midi_bytes);
  if (inside.length > MAX_ZIP_FILES) throw new Error(`a zip file holds ${whole(MAX_ZIP_FILES)} files at most; filter first`);
  const files = [];
  for (const index of inside) files.push([`${DATA.pieces[index].name}.mid`, await midiOf(index)]);
  if (MARKS.byName.size) files.push(["marks.csv", new TextEncoder().encode(MARKS.csv())]);
  save(`${inside.length}-pieces.zip`, zipOf(files), "application/zip");
}

// Runs a download, and shows why it failed.
async function attempt(action) {
  const problem = byId("work-problem");
  problem.hidden = true;
  try {
    await action();
  } catch (error) {
    problem.textContent = `The download failed: ${error.message}.`;
    problem.hidden = false;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// A zip file of (name, bytes), stored, not compressed. The date is the first that the format has.
function zipOf(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const [text, bytes] of files) {
    const name = new TextEncoder().encode(text.replaceAll("/", "_"));
    // version 2.0, names in UTF-8, stored, 1980-01-01 00:00
    const common = [[20, 2], [0x0800, 2], [0, 2], [0, 2], [0x21, 2], [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [name.length, 2], [0, 2]];
    const local = numbers([0x04034b50, 4], ...common);
    directory.push(numbers([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name);
    parts.push(local, name, bytes);
    offset += local.length + name.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([0x06054b50, 4], [0, 4], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end]);
}

// Little-endian numbers of (value, bytes) one after another.
function numbers(...fields) {
  return Uint8Array.from(fields.flatMap(([value, length]) => Array.from({ length }, (_, at) => (value >>> (8 * at)) & 255)));
}
