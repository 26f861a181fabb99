"""Sample pieces drawn during training, to hear and see what the model has learned so far.

    RUN/samples/step-000123/0.mid, 0.wav, 1.mid ...      and in TensorBoard as sounds and piano rolls

Every validation draws with the same random streams, so that only the model differs between two steps. Nothing is left
out and nothing sharpened (temperature 1): the pieces are draws from the distribution whose likelihood is reported.
Drawing reads the model's weights and changes nothing. It takes no part in a strategy's collectives, so one worker may
do it alone.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from job_runtime import storage
from midi_codec import audio, fields
from midi_codec.midi import midi_writer
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick
from trainer.data.batches import keyed_rng
from trainer.model.note_model import NoteModel, State
from trainer.model.pitch_context import PitchScores
from trainer.run_output import piano_roll
from trainer.sampling import field_sampling

FOLDER = "samples"
MAX_NOTES = 256
MAX_SECONDS = 30.0  # pieces are cut there, at 1.4 MB of sound: an untrained model may draw any length
STREAM = 0x53414D50  # one of `rng_seed`'s streams; not that of any epoch


class PieceSampler:
    """Draws pieces from a model with its current weights, all at once, by one compiled loop over notes.

    Args:
      model: the model; its weights are read at every draw.
      keys: `[num_pieces, 2]` uint32, a random stream per piece.
      max_notes: of a piece.
      allow_duplicates: see `trainer.sampling.field_sampling.draw_note`.
    """

    def __init__(
        self, model: NoteModel, keys: np.ndarray, *, max_notes: int = MAX_NOTES, allow_duplicates: bool = True
    ):
        self._model, self._keys, self._max_notes = model, keys, max_notes
        self._allow_duplicates = allow_duplicates
        self._draw = tf.function(self._draw_values, autograph=False)

    def draw(self, deviations: Mapping[str, float]) -> list[np.ndarray]:
        """Each piece's values `[num_notes, num_fields]` int32, at least one note.

        Args:
          deviations: of MSE heads, the residual's standard deviation in ticks, by field.
        """
        names = [field.name for field in self._model.table if field.loss == fields.MSE]
        values, lengths = self._draw({name: tf.constant(deviations[name], tf.float64) for name in names})
        return [piece[:length] for piece, length in zip(values.numpy(), lengths.numpy(), strict=True)]

    def _draw_values(self, deviations: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Values `[num_pieces, max_notes, num_fields]` and numbers of notes `[num_pieces]`, both int32."""
        model, num_pieces, num_fields = self._model, len(self._keys), len(self._model.table)

        def body(
            index: tf.Tensor, previous: tf.Tensor, state: State, running: tf.Tensor, lengths: tf.Tensor, values: Any
        ) -> tuple:
            note, is_end, state = self._draw_event(index, previous, state, deviations)
            running &= ~is_end | (index == 0)  # no dataset has a piece without notes
            lengths += tf.cast(running, tf.int32)
            return index + 1, note.bins, state, running, lengths, values.write(index, note.values)

        start = tf.tile(tf.constant(model.start_bins)[None], [num_pieces, 1])
        values = tf.TensorArray(tf.int32, self._max_notes, element_shape=[num_pieces, num_fields])
        begin = (0, start, model.zero_state(num_pieces), tf.fill([num_pieces], True), tf.zeros([num_pieces], tf.int32))
        _, _, _, _, lengths, values = tf.while_loop(
            lambda _index, _previous, _state, running, *_: tf.reduce_any(running),
            body,
            (*begin, values),
            parallel_iterations=1,
            maximum_iterations=self._max_notes,
        )
        return tf.transpose(values.stack(), [1, 0, 2]), lengths

    def _draw_event(
        self, index: tf.Tensor, previous: tf.Tensor, state: State, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[field_sampling.DrawnNote, tf.Tensor, State]:
        """One note of every piece, `[num_pieces]` bool whether the piece ends instead, and the state after the note."""
        model, num_pieces, table = self._model, len(self._keys), self._model.table
        unrestricted = field_sampling.RowSettings(tf.ones([num_pieces]))
        h, state = model.trunk(previous[:, None, :], state)
        head_inputs = model.head_inputs(h, state)
        indices = tf.fill([num_pieces], index)
        uniforms = field_sampling.note_uniforms(tf.constant(self._keys), indices, len(table))
        probability = tf.sigmoid(head_inputs[:, model.end_column])
        is_end = field_sampling.draw_end(probability, uniforms[:, 0], unrestricted)
        scores: list[PitchScores | None] = [None]

        def head(field_index: int, bins: Sequence[tf.Tensor], values: Sequence[tf.Tensor]) -> tf.Tensor:
            if table.fields[field_index].name == "pitch":
                scores[0] = model.score_pitches(state, head_inputs, values[table.names.index("step")])
            return model.head(field_index, head_inputs, bins, scores[0])

        note = field_sampling.draw_note(
            table,
            head,
            uniforms[:, 1:],
            unrestricted,
            previous=previous,
            is_first=indices == 0,
            deviations=deviations,
            allow_duplicates=self._allow_duplicates,
        )
        return note, is_end, model.remember(state, note.values, scores[0])


class SampleWriter:
    """Draws sample pieces and writes them into a run folder.

    Args:
      model: its weights are read at every draw.
      folder: run folder.
      num_pieces: how many pieces, at least 1.
      rng_seed: random number seed of the run.
      max_notes: of a piece.
      allow_duplicates: see `trainer.sampling.field_sampling.draw_note`.
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
        """Draws the pieces, writes them to `samples/step-<step>/`, and returns them.

        Args:
          step: the training step.
          deviations: see `PieceSampler.draw`.
          summary: TensorBoard's writer, for sounds and pictures.
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
    """The notes of a draw that start before `MAX_SECONDS`, cut off there.

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
    """A WAV file of one channel, 16 bits per sample.

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
