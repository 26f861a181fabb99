"""What is done with one generated piece, and with a shard when all its pieces are there.

A piece is judged, then kept (`piece_files`), and lies in memory until its shard's records and manifest are written.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Mapping
from typing import Any

from generation_jobs.job import whole_shards
from generation_jobs.job.job import Job
from generation_jobs.output import manifest
from generation_jobs.screening.reject_policy import DROP
from generation_jobs.screening.thresholds import Judgement
from generation_jobs.settings.requests import Result
from job_runtime import storage
from job_runtime.command import UserError
from midi_codec.dataset import records


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
    data: bytes  # the .mid file, where it lies in memory
    size: int  # of the .mid file
    example: bytes | None  # None: a piece without a note, or left out


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """What became of a request: a piece, another attempt to make, or an error's text."""

    wanted: Wanted
    num_notes: int = 0
    piece: Piece | None = None
    is_rejected: bool = False
    again: Wanted | None = None
    error: Exception | None = None


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # nothing more can be written, of any piece


class PieceKeeper:
    """Keeps a job's pieces; its functions may be called by several threads."""

    def __init__(self, job: Job) -> None:
        self.job, self.files = job, job.files()

    def keep(self, wanted: Wanted, result: Result) -> Made:
        """Judges a result; keeps it, or says that it has to be made again.

        An error of this one piece, such as a file that cannot be written, is what it gives back.

        Raises:
          UserError, OSError: nothing can be written there.
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
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            return Made(wanted, num_notes, error=error)

    def _keep(self, wanted: Wanted, result: Result, judgement: Judgement | None) -> Piece:
        is_left_out = judgement is not None and bool(judgement.reasons) and self.job.policy.on_reject == DROP
        line = self.job.line(
            wanted.number, result, judgement=judgement, rejected=wanted.rejected, is_left_out=is_left_out
        )
        path = line["path"]
        if path is None:
            return _left_out(wanted.number, manifest.dumps(line))
        mine = manifest.serialize_piece(line, result.notes)
        kept = self.files.put(path, mine)
        if kept != mine:
            return self._parse(wanted.number, path, kept)
        example = manifest.serialize_example(line, result.notes) if len(result.notes) else None
        return Piece(wanted.number, path, manifest.dumps(line), self._held(mine), len(mine), example)

    def read(self, shard: int, *, was_whole: bool) -> dict[int, Piece]:
        """The pieces of a shard that are whole, by number.

        Args:
          was_whole: the shard was done and has lost something: a piece that is damaged is one to make again.

        Raises:
          UserError: something else stands where a piece belongs.
        """
        found = self.files.read(shard)
        pieces = self._left_out(shard)
        if not found:  # as of most shards of a job that begins; millions of paths would take a minute
            return pieces
        for number in self.job.shards.numbers(shard):
            path = self.job.path(number)
            if path not in found:
                continue
            try:
                pieces[number] = self._parse(number, path, found[path])
            except UserError:
                if not was_whole:
                    raise
                self.files.replace(shard, [path])
        return pieces

    def _left_out(self, shard: int) -> dict[int, Piece]:
        """Pieces that have a line and no file: the shard's manifest, if there is one, knows them."""
        job = self.job
        if job.policy.on_reject != DROP:
            return {}
        try:
            lines = manifest.read_shard(job.output, job.shards, shard)
        except UserError:
            return {}  # they are made again, with the same outcome
        return {
            number: _left_out(number, manifest.dumps(line))
            for number, line in zip(job.shards.numbers(shard), lines, strict=False)
            if line["path"] is None and job.problem_of_line(number, line) is None
        }

    def _parse(self, number: int, path: str, data: bytes) -> Piece:
        try:
            line, notes = manifest.parse_piece(data, time_base=self.job.primers.time_base)
            if problem := self.job.problem_of_line(number, line):
                raise ValueError(problem)
        except (ValueError, KeyError) as error:
            whole = storage.join(self.job.output, path)
            text = f"{whole!r} stands where a piece of this job belongs, but {error}; move it away"
            raise UserError(text) from error
        example = None if notes is None else manifest.serialize_example(line, notes)
        return Piece(number, path, manifest.dumps(line), self._held(data), len(data), example)

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
        data = {
            shards.records(shard): records.write_records(
                piece.example for piece in ordered if piece.example is not None
            ),
            shards.manifest(shard): manifest.join_lines(piece.line for piece in ordered),
        }
        storage.write_bytes(storage.join(job.output, shards.records(shard)), data[shards.records(shard)])
        sizes = {path: len(content) for path, content in data.items()}
        if job.pieces_per_shard is None:
            sizes |= {piece.path: piece.size for piece in ordered if piece.path is not None}
        else:
            sizes |= self.files.sizes(shard)
        whole_shards.write_sizes(job, shard, sizes)
        storage.write_bytes(storage.join(job.output, shards.manifest(shard)), data[shards.manifest(shard)])
        self.files.clear(shard)
        storage.delete(storage.join(job.output, shards.failures(shard)))


def _left_out(number: int, line: str) -> Piece:
    return Piece(number, None, line, b"", 0, None)
