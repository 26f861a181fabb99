"""Sample pieces drawn during training, to hear and see what the model has learned so far.

    RUN/samples/step-000123/0.mid, 0.wav, 1.mid ...      and in TensorBoard as sounds and piano rolls

Every validation draws with the same random streams, so that only the model differs between two steps.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from job_runtime import storage
from midi_codec import audio, fields
from midi_codec.midi import midi_writer
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick
from trainer.data.batches import keyed_rng
from trainer.model.note_model import NoteModel
from trainer.run_output import piano_roll
from trainer.sampling.piece_sampler import PieceSampler

FOLDER = "samples"
MAX_NOTES = 256
MAX_SECONDS = 30.0  # pieces are cut there, at 1.4 MB of sound: an untrained model may draw any length
STREAM = 0x53414D50  # one of `rng_seed`'s streams; not that of any epoch


class SampleWriter:
    """Draws sample pieces and writes them into a run folder.

    Args:
      model: its weights are read at every draw.
      folder: run folder.
      num_pieces: how many pieces, at least 1.
      rng_seed: random number seed of the run.
      max_notes: of a piece.
      allow_duplicates: see `PieceSampler`.
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
        self._keys = keyed_rng(rng_seed, STREAM).integers(0, 2**32, (num_pieces, 2), np.uint32)
        self._table, self._folder = model.table, folder
        self._sampler = PieceSampler(model, max_notes=max_notes, allow_duplicates=allow_duplicates)

    def write(
        self, step: int, deviations: Mapping[str, float], summary: tf.summary.SummaryWriter | None = None
    ) -> list[Notes]:
        """Draws the pieces, writes them to `samples/step-<step>/`, and returns them.

        Args:
          step: the training step.
          deviations: see `PieceSampler.draw`.
          summary: TensorBoard's writer, for sounds and pictures.
        """
        pieces = [cut(self._table, drawn.values) for drawn in self._sampler.draw(deviations, self._keys)]
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
