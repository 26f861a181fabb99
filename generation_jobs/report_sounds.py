"""The pieces' sound, as files: rendered and encoded by threads, highlights for inside the page, the rest beside it.

Of large sets only the highlights are rendered: a core encodes some 25 times as fast as music plays, so that a thousand
pieces would take a quarter of an hour and 300 MB. The page makes the sound of the others when they are played.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
from collections.abc import Sequence

from generation_jobs import audio_vorbis
from generation_jobs.report_content import quote
from generation_jobs.report_music import GeneratedPiece
from midi_codec import audio, storage
from midi_codec.command import Interrupted, StopSignal
from midi_codec.progress import progress

SUFFIX = ".ogg"
MAX_RENDERED_SECONDS = 3600.0  # of music, altogether; in sets that have more, only the highlights are rendered
MAX_INSIDE_BYTES = 12 << 20  # of sound in the page, so that it still opens fast; more lies beside it


@dataclasses.dataclass(frozen=True)
class Sounds:
    """By index of the piece: files for inside the page, addresses of those beside it; those that the page makes."""

    inside: dict[int, bytes]
    links: dict[int, str]
    num_bytes: int  # of all files
    made: frozenset[int] = frozenset()


def make_sounds(
    pieces: Sequence[GeneratedPiece],
    *,
    highlights: Sequence[int],
    synthesizer: audio.Synthesizer,
    folder: str,
    stop: StopSignal,
) -> Sounds:
    """Renders every piece that has notes, or of a large set the highlights; writes into `folder` what does not go into
    the page.

    Sounds that an earlier report left in `folder`, and this one has not, are deleted.

    Raises:
      Interrupted: `stop` asked for it.
    """
    audio_vorbis.load()
    chosen = audible = [index for index, piece in enumerate(pieces) if len(piece.notes)]
    if sum(min(pieces[index].notes.seconds, audio.MAX_SECONDS) for index in audible) > MAX_RENDERED_SECONDS:
        chosen = [index for index in audible if index in highlights]
    names = {index: file_name(pieces[index]) for index in chosen}
    inside: dict[int, bytes] = {}
    num_bytes = 0

    def work(index: int) -> tuple[int, int, bytes | None]:
        data = audio_vorbis.encode(audio.render(pieces[index].notes, synthesizer), audio.SAMPLE_RATE)
        if index in highlights:
            return index, len(data), data
        storage.write_bytes(storage.join(folder, names[index]), data)
        return index, len(data), None

    # Both FluidSynth and the encoder let go of the interpreter's lock.
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        futures = [pool.submit(work, index) for index in chosen]
        done = concurrent.futures.as_completed(futures)
        for future in progress(done, total=len(futures), unit="pieces", label="rendering sound"):
            index, size, data = future.result()
            num_bytes += size
            if data is not None:
                inside[index] = data
            if stop.requested:
                raise Interrupted("the page is not written; start the same command again")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for index in _beyond(MAX_INSIDE_BYTES, inside):
        storage.write_bytes(storage.join(folder, names[index]), inside.pop(index))
    links = {index: f"{quote(_last(folder))}/{names[index]}" for index in chosen if index not in inside}
    _delete_others(folder, {names[index] for index in links})
    return Sounds(dict(sorted(inside.items())), links, num_bytes, frozenset(audible) - set(chosen))


def file_name(piece: GeneratedPiece) -> str:
    """Readable, safe in any place and address, and one a sample."""
    seed_id = re.sub(r"[^A-Za-z0-9_-]+", "_", piece.line["seed_id"])[:60]
    return f"{seed_id}-{piece.line['sample']:05d}-{piece.line['piece_id'][:8]}{SUFFIX}"


def _beyond(limit: int, sounds: dict[int, bytes]) -> list[int]:
    """Indexes of the sounds that do not fit `limit` bytes any more, in the order of pieces."""
    total, over = 0, []
    for index in sorted(sounds):
        total += len(sounds[index])
        if total > limit:
            over.append(index)
    return over


def _delete_others(folder: str, names: set[str]) -> None:
    try:
        there = list(storage.list_files(folder))
    except FileNotFoundError:
        return
    for entry in there:
        if entry.path.endswith(SUFFIX) and _last(entry.path) not in names:
            storage.delete(entry.path)


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
