"""The sound of the highlights, rendered and encoded in processes, to include in the page.

Only highlights are rendered: one core renders and encodes 30 to 90 times as fast as the music plays. The page
synthesizes the sound of the other pieces when they are played.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from generation_jobs import audio_file
from generation_jobs.output.generated_music import GeneratedPiece
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress
from job_runtime.processes import num_cores, process_pool
from midi_codec import audio
from midi_codec.music.notes import Notes

MAX_BYTES = 24 << 20  # sound in the page, so that it still opens fast: 20 pieces of two minutes


@contextlib.contextmanager
def rendering(
    pieces: Sequence[GeneratedPiece], *, highlights: Sequence[int]
) -> Iterator[Callable[[StopSignal], dict[int, bytes]]]:
    """Renders the highlights during the block; call what it gives at the end of the block.

    That returns Ogg Vorbis files by the index of the piece, without those beyond `MAX_BYTES`; it raises Interrupted if
    `stop` is requested.
    """
    chosen = [index for index in highlights if len(pieces[index].notes)]
    with process_pool(max(1, min(num_cores(), len(chosen)))) as pool:
        done = pool.map(_sound, [pieces[index].notes for index in chosen])

        def finish(stop: StopSignal) -> dict[int, bytes]:
            sounds: dict[int, bytes] = {}
            num_bytes = 0
            bar = progress(done, total=len(chosen), unit="pieces", label="rendering sound")
            for index, data in zip(chosen, bar, strict=True):
                if stop.requested:
                    raise Interrupted("the page is not written; start the same command again")
                if num_bytes + len(data) <= MAX_BYTES:
                    sounds[index] = data
                    num_bytes += len(data)
            return sounds

        yield finish


def _sound(notes: Notes) -> bytes:
    return audio_file.encode(audio.render(notes), audio.SAMPLE_RATE, format="ogg")
