"""Export the traditional tunes that the model in the box learned from to MIDI: dances and airs, single melodies.

    python -m demo.tunes --output tunes/midi

music21 includes ABC transcriptions of two old printed books. `docs/model_card.md` describes their terms and what was
left out. A file's name begins with the tune's title, so that versions of one tune can share a split:
`encode_corpus --group-regex '([^/]+)--'`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from demo import abc_tune
from demo.abc_tune import Tune
from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.settings import add_number
from job_runtime.logs.progress import progress
from midi_codec.midi import midi_writer
from midi_codec.music.notes import Notes

PROGRAM = "python -m demo.tunes"
COLLECTIONS = {
    "oneills1850": "O'Neill's Music of Ireland, Chicago 1903",
    "ryansMammoth": "Ryan's Mammoth Collection, Boston 1883",
}
# One contributor's own site asks that his files be neither sold nor put on other sites.
LEFT_OUT_TRANSCRIBERS = re.compile("norbeck", re.IGNORECASE)
RESTRICTIONS = re.compile(r"copyright|©|licen[cs]e|permission|commercial|all rights|restrict", re.IGNORECASE)
FIRST_DANCE = 701  # in O'Neill's numbers; before it are airs and songs, including Carolan's
MIN_NOTES = 32
MIN_FULL_BARS = 0.8  # share; a smaller one indicates errors of the transcription or the reader
FIDDLE = 110  # General MIDI
TEMPO = 120.0  # of a dancer's beat; also the tempo of pieces without a primer
SLOW_DANCES = re.compile(r"strathspey|fling|schottische", re.IGNORECASE)


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a folder for the MIDI files")
    add_number(parser, "--limit", None, "only the first N tunes", at_least=1)
    args = parser.parse_args(argv)
    with StopSignal() as stop:
        outcomes = export_all(list(transcriptions())[: args.limit], args.output, stop)
    print(f"{outcomes.pop('', 0):,} tunes in {args.output}; left out:")
    for reason, count in sorted(outcomes.items()):
        print(f"  {count:5,}  {reason}")
    return command.OK


def transcriptions() -> Iterator[tuple[str, str]]:
    """Yields (file, text) for every tune of the books, in order."""
    import music21

    for collection in COLLECTIONS:
        folder = os.path.join(os.path.dirname(music21.__file__), "corpus", collection)
        for name in sorted(os.listdir(folder)):
            if name.endswith(".abc"):
                data = storage.read_bytes(os.path.join(folder, name))
                for text in split(data):
                    yield name, text


def split(data: bytes) -> list[str]:
    """The tunes of an ABC file, without any text before the first."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return re.split(r"(?m)^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"))[1:]


def export_all(tunes: Sequence[tuple[str, str]], folder: str, stop: StopSignal) -> Counter[str]:
    """Writes the tunes; returns counts by reason for leaving out, with written ones under the empty text.

    Raises:
      Interrupted: `stop` was requested; exported files stay.
    """
    outcomes: Counter[str] = Counter()
    with progress(total=len(tunes), unit="tunes", label="exporting") as bar:
        for name, text in tunes:
            try:
                path, notes = convert(name, text)
                storage.write_bytes(storage.join(folder, path), midi_writer.serialize(notes))
                outcomes[""] += 1
            except LeftOut as reason:
                outcomes[str(reason)] += 1
            bar.update(1)
            if stop.requested:
                raise Interrupted
    return outcomes


class LeftOut(Exception):
    """Why a tune is left out of the corpus; one of a few texts, so that they can be counted."""


def convert(file_name: str, text: str) -> tuple[str, Notes]:
    """A tune's path below the corpus, and its notes.

    Raises:
      LeftOut.
    """
    fields = abc_tune.header(text)
    transcriber = f"{fields.get('Z', '')} {fields.get('S', '')}"
    if not transcriber.strip():
        raise LeftOut("no transcriber named")
    if LEFT_OUT_TRANSCRIBERS.search(transcriber):
        raise LeftOut("a transcriber whose own terms are narrower")
    if RESTRICTIONS.search(text):
        raise LeftOut("words that may restrict its use")
    try:
        tune = abc_tune.parse(text)
    except ValueError as error:
        raise LeftOut("not one line of music with a meter") from error
    if tune.share_of_full_bars < MIN_FULL_BARS:
        raise LeftOut("bars that are not full")
    stem = file_name.removesuffix(".abc")
    notes = abc_tune.to_notes(tune, quarters_per_beat=quarters_per_beat(stem, tune), program=FIDDLE, tempo=TEMPO)
    if len(notes) < MIN_NOTES:
        raise LeftOut(f"fewer than {MIN_NOTES} notes")
    return f"{title_key(fields.get('T', ''))}--{stem}-{fields['X'].split()[0]}.mid", notes


def quarters_per_beat(stem: str, tune: Tune) -> Fraction:
    """A dancer's beat in quarter notes of the book: half a bar of a reel or a jig.

    On the grid it is a quarter note, so that reels and jigs have equally long bars and one tempo. An air is slower: its
    quarter note lasts one beat, or two if the book says "slow".
    """
    numbers = re.match(r"\d+", stem)
    kind = " ".join(tune.fields.get(letter, "") for letter in "TRN")
    if numbers and int(numbers[0]) < FIRST_DANCE or tune.fields.get("R") == "air":
        return Fraction(1, 2) if "slow" in kind.lower() else Fraction(1)
    full = tune.bars[-1].full
    meter = tune.fields["M"].split()[0]
    if meter in ("6/8", "9/8", "12/8", "3/8"):
        return Fraction(3, 2)
    typical = np.median([float(sound.quarters) for bar in tune.bars for sound in bar.sounds])
    is_half = full in (4, 6) and typical >= 0.5 and not SLOW_DANCES.search(kind)
    return Fraction(2) if is_half else Fraction(1)


def title_key(title: str) -> str:
    """A title as a file name; the same for `The Acacia` and `Acacia -- Reel`."""
    plain = unicodedata.normalize("NFKD", title.lower()).encode("ascii", "ignore").decode()
    plain = re.split(r" -+ |[,;(\[]", re.sub(r"^(the|an?) ", "", plain))[0]
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"[.']", "", plain)).strip("-")[:60] or "untitled"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
