"""Which grid of times suits a corpus: beats for music that was written, milliseconds for music that was played.

In written music most notes begin at a few positions of the beat, such as its start and its middle; in a recorded
performance they begin anywhere. The number of positions that a piece uses is the perplexity of its onsets, taken modulo
one beat: 1 if all are at one position, 24 if all positions are equally frequent. A constant offset changes nothing, so
music whose first beat is not at a bar line counts as written too.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from beam_pipelines.corpus import chunk_reader, chunks
from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.encoding.encode_chunk import batches
from beam_pipelines.encoding.piece_measures import MOST_POSITIONS, count_positions
from beam_pipelines.survey.read_sample import is_chosen
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import BEATS, MILLISECONDS

SAMPLE_FILES = 200
ENOUGH_NOTES = 0.5  # the share of the notes that must be in written pieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeBaseChoice:
    """The grid that suits a sample of the corpus.

    Attributes:
      num_pieces: pieces that were read.
      written_share: the share of their notes that is in pieces with at most `MOST_POSITIONS` positions.
    """

    num_pieces: int
    written_share: float

    @property
    def time_base(self) -> str:
        return BEATS if self.written_share > ENOUGH_NOTES else MILLISECONDS

    @property
    def reason(self) -> str:
        """A sentence."""
        if not self.num_pieces:
            return f"--time-base {self.time_base}: no file of the sample has notes that can be read"
        return (
            f"--time-base {self.time_base} suits this corpus: in {self.num_pieces:,} pieces that were read, "
            f"{self.written_share:.0%} of the notes are in pieces whose notes begin at few positions of the beat"
        )


def choose(corpus: Corpus, limits: Limits) -> TimeBaseChoice:
    """Reads about `SAMPLE_FILES` files, chosen by a hash of their names; the same corpus gives the same choice."""
    share = min(1.0, SAMPLE_FILES / corpus.num_inputs)
    chosen = [
        (place, row)
        for chunk in corpus.chunks
        for place, row in chunks.unpack(chunk)
        if is_chosen(chunks.source_of(place, row), share)
    ]
    num_pieces = num_notes = num_written = 0
    for items in batches(chunk_reader.read(chunks.pack(chosen), max_bytes=limits.max_bytes)):
        files = [item.data for item in items if item.data is not None]
        batch = midi_file.parse_many(files, time_base=BEATS, limits=limits).batch
        num_pieces += len(batch.tempo)
        num_notes += len(batch.start)
        num_written += int(np.diff(batch.offsets)[count_positions(batch) <= MOST_POSITIONS].sum())
    return TimeBaseChoice(num_pieces=num_pieces, written_share=num_written / max(num_notes, 1))
