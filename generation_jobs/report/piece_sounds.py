"""The sound of the highlights, rendered and encoded in processes, to include in the page.

Only highlights are rendered: one core renders and encodes 30 to 90 times as fast as the music plays. The page
synthesizes the sound of the other pieces when they are played.
"""

from __future__ import annotations

from collections.abc import Sequence

from generation_jobs import audio_file
from generation_jobs.output.generated_music import GeneratedPiece
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress
from job_runtime.processes import num_cores, process_pool
from midi_codec import audio
from midi_codec.music.notes import Notes

MAX_BYTES = 24 << 20  # sound in the page, so that it still opens fast: 20 pieces of two minutes


def make_sounds(pieces: Sequence[GeneratedPiece], *, highlights: Sequence[int], stop: StopSignal) -> dict[int, bytes]:
    """Ogg Vorbis files of the highlights, by the index of the piece; those beyond `MAX_BYTES` are left out.

    Raises:
      Interrupted: `stop` was requested.
    """
    chosen = [index for index in highlights if len(pieces[index].notes)]
    sounds: dict[int, bytes] = {}
    num_bytes = 0

    with process_pool(max(1, min(num_cores(), len(chosen)))) as pool:
        done = pool.map(_sound, [pieces[index].notes for index in chosen])
        bar = progress(done, total=len(chosen), unit="pieces", label="rendering sound")
        for index, data in zip(chosen, bar, strict=True):
            if stop.requested:
                raise Interrupted("the page is not written; start the same command again")
            if num_bytes + len(data) <= MAX_BYTES:
                sounds[index] = data
                num_bytes += len(data)
    return sounds


def _sound(notes: Notes) -> bytes:
    return audio_file.encode(audio.render(notes), audio.SAMPLE_RATE, format="ogg")
