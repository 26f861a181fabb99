// The page's data, and functions that make elements. Text is always inserted as text, never as HTML.

const DATA = JSON.parse(document.getElementById("report-data").textContent);
const TRACKS = [...DATA.pieces, ...DATA.originals]; // what the player plays, by index
const NUM_VOICES = 8; // colours for programs, --voice-0 to --voice-7

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const byId = (id) => document.getElementById(id);

function icon(...paths) {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" },
    ...paths.map(([shape, name]) => svg("path", { d: shape, class: name })));
}

const PLAY = "M8 5v14l11-7z";
const PAUSE = "M7 5h4v14H7zM13 5h4v14h-4z";
const CHECK = "M9 16.2 4.8 12l-1.4 1.4L9 19 21 7l-1.4-1.4z";
const CROSS = "M19 6.4 17.6 5 12 10.6 6.4 5 5 6.4 10.6 12 5 17.6 6.4 19 12 13.4 17.6 19 19 17.6 13.4 12z";
const playIcon = () => icon([PLAY, "icon-play"], [PAUSE, "icon-pause"]);

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function decimal(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

function whole(value) {
  return value.toLocaleString("en");
}

// A check's value as text; the suffix of its name gives the unit, as in the manifest.
function checkText(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return value === undefined || value === null ? "–" : String(value);
  if (name.endsWith("_share")) return `${decimal(100 * value, 1)} %`;
  if (name.endsWith("_seconds")) return `${decimal(value, 1)} s`;
  return Number.isInteger(value) ? whole(value) : decimal(value, 3);
}

function checkTitle(name) {
  const words = name.replace(/_(seconds|share)$/, (ending) => (ending === "_share" ? "_share" : "")).replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

function pieceTitle(piece) {
  return piece.sample === undefined ? `${piece.source}, the seed's own piece` : `${piece.seed_id}, sample ${piece.sample}`;
}

// The same, where the seed may be shortened and the sample may not.
function titleParts(piece) {
  const [seed, rest] = piece.sample === undefined ? [piece.source, "the seed's own"] : [piece.seed_id, `sample ${piece.sample}`];
  return [html("span", { class: "seed" }, seed), " ", html("span", { class: "number-of" }, rest)];
}

function measureTitle({ title, unit }) {
  return unit ? `${title} (${unit})` : title;
}

// A piece's figure without its unit, with three digits that count.
function figureText({ unit }, value) {
  if (value === null || value === undefined) return "–";
  const shown = unit === "%" ? 100 * value : value;
  return decimal(shown, unit === "%" || Math.abs(shown) >= 10 ? 1 : 2);
}

// The columns of a piece: n start, n duration (milliseconds, 32 bits), n pitch, n velocity, n program (8 bits).
function notesOf(piece) {
  if (!piece.decoded) {
    const bytes = Uint8Array.from(atob(piece.columns), (character) => character.charCodeAt(0));
    const n = piece.num_notes;
    const column = (offset) => new Uint8Array(bytes.buffer, offset, n);
    piece.decoded = {
      start: new Uint32Array(bytes.buffer, 0, n),
      duration: new Uint32Array(bytes.buffer, 4 * n, n),
      pitch: column(8 * n),
      velocity: column(9 * n),
      program: column(10 * n),
    };
  }
  return piece.decoded;
}

function voiceOf(program) {
  return DATA.programs.findIndex((known) => known.program === program) % NUM_VOICES;
}

function colors() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    get,
    voices: Array.from({ length: NUM_VOICES }, (_, index) => get(`--voice-${index}`)),
  };
}

// Calls `redraw` when the width of `node` or the colour scheme changes.
function onAppearance(node, redraw) {
  new ResizeObserver(redraw).observe(node);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
