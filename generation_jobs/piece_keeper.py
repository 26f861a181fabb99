"""What is done with one generated piece, and with a shard when all its pieces are there.

A piece is judged, then kept (`piece_files`), and lies in memory until its shard's records and manifest are written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from generation_jobs import manifest
from generation_jobs.job import Job
from generation_jobs.requests import Result
from generation_jobs.screening import Judgement
from generation_jobs.screening_policy import DROP
from midi_codec import records, storage
from midi_codec.command import UserError


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A sample to make; `rejected` says of each attempt before what it was and why it was rejected."""

    number: int
    rejected: tuple[dict[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """What is kept in memory of a piece until its shard is written."""

    number: int
    path: str | None  # None: left out
    line: str  # of the manifest
    data: bytes  # the .mid file
    example: bytes | None  # None: a piece without a note, or left out


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """What became of a request: a piece, another attempt to make, or an error's text."""

    wanted: Wanted
    num_notes: int = 0
    piece: Piece | None = None
    is_rejected: bool = False
    again: Wanted | None = None
    error: str = ""


class PieceKeeper:
    """Keeps a job's pieces; its functions may be called by several threads."""

    def __init__(self, job: Job) -> None:
        self.job, self.files = job, job.files()

    def keep(self, wanted: Wanted, result: Result) -> Made:
        """Judges a result; keeps it, or says that it has to be made again.

        An error of this one piece, such as a file that cannot be written, is what it gives back.

        Raises:
          UserError: nothing can be written there.
        """
        num_notes = len(result.notes) - result.num_primer_notes
        try:
            judgement = self.job.policy.judge(result)
            reasons = judgement.reasons if judgement is not None else ()
            if reasons and len(wanted.rejected) < self.job.policy.max_retries:
                attempt = {"piece_id": result.notes.piece_id, "reasons": list(reasons)}
                return Made(wanted, num_notes, again=Wanted(wanted.number, (*wanted.rejected, attempt)))
            return Made(wanted, num_notes, self._keep(wanted, result, judgement), is_rejected=bool(reasons))
        except UserError:
            raise
        except Exception as error:  # of one sample: the others go on
            return Made(wanted, num_notes, error=f"{type(error).__name__}: {error}")

    def _keep(self, wanted: Wanted, result: Result, judgement: Judgement | None) -> Piece:
        is_left_out = judgement is not None and bool(judgement.reasons) and self.job.policy.on_reject == DROP
        line = self.job.line(
            wanted.number, result, judgement=judgement, rejected=wanted.rejected, is_left_out=is_left_out
        )
        path = line["path"]
        if path is None:
            return Piece(wanted.number, None, manifest.dumps(line), b"", None)
        mine = manifest.serialize_piece(line, result.notes)
        kept = self.files.put(path, mine)
        if kept != mine:
            return self._parse(wanted.number, path, kept)
        example = manifest.serialize_example(line, result.notes) if len(result.notes) else None
        return Piece(wanted.number, path, manifest.dumps(line), self._held(mine), example)

    def read(self, shard: int) -> dict[int, Piece]:
        """The pieces of a shard that are whole, by number.

        Raises:
          UserError: something else stands where a piece belongs.
        """
        found = self.files.read(shard)
        if not found:  # as of most shards of a job that begins; millions of paths would take a minute
            return {}
        paths = {number: self.job.path(number) for number in self.job.shards.numbers(shard)}
        return {number: self._parse(number, path, found[path]) for number, path in paths.items() if path in found}

    def _parse(self, number: int, path: str, data: bytes) -> Piece:
        try:
            line, notes = manifest.parse_piece(data, time_base=self.job.primers.time_base)
        except ValueError as error:
            whole = storage.join(self.job.output, path)
            text = f"{whole!r} stands where a piece of this job belongs, but {error}; move it away"
            raise UserError(text) from error
        example = None if notes is None else manifest.serialize_example(line, notes)
        return Piece(number, path, manifest.dumps(line), self._held(data), example)

    def _held(self, data: bytes) -> bytes:
        return b"" if self.job.pieces_per_shard is None else data  # a loose file is written already

    def finish(self, shard: int, pieces: Mapping[int, Piece]) -> None:
        """Writes what says that a shard is done, the manifest last."""
        job, shards = self.job, self.job.shards
        mine = {piece.path: piece.data for piece in pieces.values() if piece.path is not None}
        kept = self.files.finish(shard, mine)
        if kept != mine:  # another task was first
            pieces = {**pieces, **{n: self._parse(n, p.path, kept[p.path]) for n, p in pieces.items() if p.path}}
        ordered = [pieces[number] for number in shards.numbers(shard)]
        examples = (piece.example for piece in ordered if piece.example is not None)
        storage.write_bytes(storage.join(job.output, shards.records(shard)), records.write_records(examples))
        manifest.write(storage.join(job.output, shards.manifest(shard)), (piece.line for piece in ordered))
        self.files.clear(shard)
        storage.delete(storage.join(job.output, shards.failures(shard)))
