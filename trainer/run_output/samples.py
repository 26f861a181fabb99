"""Pieces that the model draws while it is trained: to hear and see what it has learned so far.

    RUN/samples/step-000123/0.mid, 0.wav, 1.mid ...      and in TensorBoard as sounds and piano rolls

Every validation draws with the same random streams, so that what differs between two steps is the model. Nothing is
left out and nothing sharpened (temperature 1): these are draws from the distribution whose likelihood is reported.
Drawing reads the model's weights and changes nothing; it takes no part in a strategy's collectives, so one worker may
do it alone.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from job_runtime import storage
from midi_codec import audio, fields
from midi_codec.midi import midi_writer
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick
from trainer.data.batches import keyed_rng
from trainer.model.note_model import NoteModel
from trainer.run_output import piano_roll
from trainer.sampling import field_sampling

FOLDER = "samples"
MAX_NOTES = 256
MAX_SECONDS = 30.0  # a piece is cut there: 1.4 MB of sound, whatever lengths a model at its beginning draws
STREAM = 0x53414D50  # of `rng_seed`'s streams; no epoch's


class PieceSampler:
    """Draws pieces from a model as it stands, all at once, by one compiled loop over notes.

    Args:
      model: the model; its weights are read at every draw.
      keys: `[num_pieces, 2]` uint32, a random stream a piece.
      max_notes: of a piece.
      allow_duplicates: as `sampling.draw_note` takes it.
    """

    def __init__(
        self, model: NoteModel, keys: np.ndarray, *, max_notes: int = MAX_NOTES, allow_duplicates: bool = True
    ):
        self._model, self._keys, self._max_notes = model, keys, max_notes
        self._allow_duplicates = allow_duplicates
        self._draw = tf.function(self._draw_values)

    def draw(self, deviations: Mapping[str, float]) -> list[np.ndarray]:
        """A piece's values `[num_notes, num_fields]` int32 each, at least one note.

        Args:
          deviations: of MSE heads, the residual's standard deviation in ticks, by field.
        """
        names = [field.name for field in self._model.table if field.loss == fields.MSE]
        values, lengths = self._draw({name: tf.constant(deviations[name], tf.float64) for name in names})
        return [piece[:length] for piece, length in zip(values.numpy(), lengths.numpy(), strict=True)]

    def _draw_values(self, deviations):
        """Values `[num_pieces, max_notes, num_fields]` and numbers of notes `[num_pieces]`, both int32."""
        model, num_pieces, table = self._model, len(self._keys), self._model.table
        num_fields = len(table)
        everything = field_sampling.RowSettings(tf.ones([num_pieces]))

        def body(place, previous, state, running, lengths, values):
            h, state = model.trunk(previous[:, None, :], state)
            parts = model.parts(h, state)
            places = tf.fill([num_pieces], place)
            uniforms = field_sampling.note_uniforms(tf.constant(self._keys), places, num_fields)
            is_end = field_sampling.draw_end(parts[:, model.end_column], uniforms[:, 0], everything)
            running &= ~is_end | (place == 0)  # no dataset has a piece without notes
            sights: list[Any] = [None]

            def head(index, bins, values):
                if table.fields[index].name == "pitch":
                    sights[0] = model.look(state, parts, values[table.names.index("step")])
                return model.head(index, parts, bins, sights[0])

            note = field_sampling.draw_note(
                table,
                head,
                uniforms[:, 1:],
                everything,
                previous=previous,
                is_first=places == 0,
                deviations=deviations,
                allow_duplicates=self._allow_duplicates,
            )
            state = model.remember(state, note.values, sights[0])
            lengths += tf.cast(running, tf.int32)
            return place + 1, note.bins, state, running, lengths, values.write(place, note.values)

        start = tf.tile(tf.constant(model.start_bins)[None], [num_pieces, 1])
        values = tf.TensorArray(tf.int32, self._max_notes, element_shape=[num_pieces, num_fields])
        begin = (0, start, model.zero_state(num_pieces), tf.fill([num_pieces], True), tf.zeros([num_pieces], tf.int32))
        _, _, _, _, lengths, values = tf.while_loop(
            lambda place, _previous, _state, running, *_: tf.reduce_any(running),
            body,
            (*begin, values),
            parallel_iterations=1,
            maximum_iterations=self._max_notes,
        )
        return tf.transpose(values.stack(), [1, 0, 2]), lengths


class SampleWriter:
    """Draws sample pieces and writes them into a run folder.

    Args:
      model: as `PieceSampler` takes it.
      folder: run folder.
      num_pieces: how many pieces, at least 1.
      rng_seed: random number seed of the run.
      max_notes: of a piece.
      allow_duplicates: as `sampling.draw_note` takes it.
    """

    def __init__(
        self,
        model: NoteModel,
        folder: str,
        *,
        num_pieces: int,
        rng_seed: int,
        max_notes: int = MAX_NOTES,
        allow_duplicates: bool = True,
    ):
        keys = keyed_rng(rng_seed, STREAM).integers(0, 2**32, (num_pieces, 2), np.uint32)
        self._table, self._folder = model.table, folder
        self._sampler = PieceSampler(model, keys, max_notes=max_notes, allow_duplicates=allow_duplicates)

    def write(
        self, step: int, deviations: Mapping[str, float], summary: tf.summary.SummaryWriter | None = None
    ) -> list[Notes]:
        """Draws the pieces, writes them below `samples/step-<step>/`, and gives them.

        Args:
          step: the training step.
          deviations: of MSE heads, as `PieceSampler.draw` takes them.
          summary: TensorBoard's writer, which gets sounds and pictures as well.
        """
        pieces = [cut(self._table, values) for values in self._sampler.draw(deviations)]
        folder = storage.join(self._folder, FOLDER, f"step-{step:06d}")
        for number, notes in enumerate(pieces):
            text = f"sample {number} of training step {step}"
            storage.write_bytes(storage.join(folder, f"{number}.mid"), midi_writer.serialize(notes, texts=[text]))
            samples = audio.render(notes)
            storage.write_bytes(storage.join(folder, f"{number}.wav"), wav_bytes(samples))
            if summary is not None:
                with summary.as_default(step=step):
                    tf.summary.audio(f"samples/{number}", samples[None, :, None], audio.SAMPLE_RATE)
                    tf.summary.image(f"samples/{number}/roll", piano_roll.draw(notes)[None])
        if summary is not None:
            summary.flush()
        return pieces


def cut(table: fields.FieldTable, values: np.ndarray) -> Notes:
    """The notes of a draw that start before `MAX_SECONDS`, none longer than until there.

    Args:
      table: the fields.
      values: `[num_notes, num_fields]`, the first step 0.
    """
    most = int(MAX_SECONDS / seconds_per_tick(table.time_base, DEFAULT_TEMPO))
    start = np.cumsum(values[:, table.names.index("step")].astype(np.int64))
    num_kept = int(np.searchsorted(start, most))
    kept = values[:num_kept].copy()
    duration = kept[:, table.names.index("duration")]
    np.minimum(duration, most - start[:num_kept], out=duration)
    return table.to_notes(kept, tempo=DEFAULT_TEMPO)


def wav_bytes(samples: np.ndarray) -> bytes:
    """A WAV file of one channel, 16 bits a sample.

    Args:
      samples: `[n]` float32 within -1 to 1, at `audio.SAMPLE_RATE`.
    """
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.SAMPLE_RATE)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return out.getvalue()
