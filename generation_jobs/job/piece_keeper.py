"""What is done with each generated piece, and with a shard once all its pieces exist.

A piece is judged, then written (`piece_files`), and stays in memory until its shard's records and manifest are written.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Mapping
from typing import Any

from generation_jobs.job import whole_shards
from generation_jobs.job.job import Job
from generation_jobs.output import manifest, piece_bytes
from generation_jobs.output.piece_files import PieceFiles
from generation_jobs.screening.reject_policy import DROP
from generation_jobs.settings.requests import Result
from job_runtime import storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import records
from midi_codec.measures.thresholds import Judgement


@dataclasses.dataclass(frozen=True, slots=True)
class PendingSample:
    """A sample to make; `rejected` describes each rejected attempt: its piece_id and the reasons."""

    number: int
    rejected: tuple[dict[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """What is kept in memory of a piece until its shard is written."""

    number: int
    path: str | None  # None: left out
    line: str  # of the manifest
    data: bytes  # the .mid file, if it is kept in memory
    size: int  # of the .mid file
    example: bytes | None  # None: no notes, or left out


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a request led to: a piece, another attempt, or an error."""

    pending: PendingSample
    num_notes: int = 0
    piece: Piece | None = None
    is_rejected: bool = False
    retry: PendingSample | None = None
    error: Exception | None = None


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # no other piece could be written either


class PieceKeeper:
    """Keeps a job's pieces; its methods may be called from several threads."""

    def __init__(self, job: Job, files: PieceFiles | None = None) -> None:
        self.job, self.files = job, files or job.files()

    def keep(self, pending: PendingSample, result: Result) -> Outcome:
        """Judges a result; keeps it, or asks for another attempt.

        An error of this piece alone, such as a file that cannot be written, is returned in the outcome.

        Raises:
          UserError, OSError: no piece can be written.
        """
        num_notes = len(result.notes) - result.num_primer_notes
        try:
            judgement = self.job.policy.judge(result)
            reasons = judgement.reasons if judgement is not None else ()
            if reasons and len(pending.rejected) < self.job.policy.max_retries:
                attempt = {"piece_id": result.notes.piece_id, "reasons": list(reasons)}
                retry = PendingSample(pending.number, (*pending.rejected, attempt))
                return Outcome(pending, num_notes, retry=retry)
            return Outcome(pending, num_notes, self._keep(pending, result, judgement), is_rejected=bool(reasons))
        except UserError:
            raise
        except Exception as error:  # of one sample: the others continue
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            return Outcome(pending, num_notes, error=error)

    def _keep(self, pending: PendingSample, result: Result, judgement: Judgement | None) -> Piece:
        is_left_out = judgement is not None and bool(judgement.reasons) and self.job.policy.on_reject == DROP
        line = self.job.line(
            pending.number, result, judgement=judgement, rejected=pending.rejected, is_left_out=is_left_out
        )
        path = line["path"]
        if path is None:
            return _left_out(pending.number, manifest.dumps(line))
        mine = piece_bytes.serialize_midi(line, result.notes)
        kept = self.files.put(path, mine)
        if kept != mine:
            return self._parse(pending.number, path, kept)
        example = piece_bytes.serialize_example(line, result.notes) if len(result.notes) else None
        return Piece(pending.number, path, manifest.dumps(line), self._data_to_hold(mine), len(mine), example)

    def read(self, shard: int, *, was_whole: bool) -> dict[int, Piece]:
        """The existing pieces of a shard, by number.

        Args:
          was_whole: the shard was done and is now damaged: its damaged pieces are made again.

        Raises:
          UserError: a foreign file is where a piece belongs.
        """
        files = self.files.read(shard)
        pieces = self._left_out(shard)
        if not files:  # true of most shards when a job begins; building millions of paths would take a minute
            return pieces
        for number in self.job.shards.numbers(shard):
            path = self.job.path(number)
            if path not in files:
                continue
            try:
                pieces[number] = self._parse(number, path, files[path])
            except UserError:
                if not was_whole:
                    raise
                self.files.replace(shard, [path])
        return pieces

    def _left_out(self, shard: int) -> dict[int, Piece]:
        """Pieces that were left out: they have a line in the shard's manifest, if it exists, but no file."""
        job = self.job
        if job.policy.on_reject != DROP:
            return {}
        try:
            lines = manifest.read_shard(job.output, job.shards, shard)
        except UserError:
            return {}  # they are made again, with the same result
        return {
            number: _left_out(number, manifest.dumps(line))
            for number, line in zip(job.shards.numbers(shard), lines, strict=False)
            if line["path"] is None and job.problem_of_line(number, line) is None
        }

    def _parse(self, number: int, path: str, data: bytes) -> Piece:
        try:
            line, notes = piece_bytes.parse_midi(data, time_base=self.job.primers.time_base)
            if problem := self.job.problem_of_line(number, line):
                raise ValueError(problem)
        except (ValueError, KeyError) as error:
            whole = storage.join(self.job.output, path)
            text = f"{whole!r} is where a piece of this job belongs, but {error}; move it away"
            raise UserError(text) from error
        example = None if notes is None else piece_bytes.serialize_example(line, notes)
        return Piece(number, path, manifest.dumps(line), self._data_to_hold(data), len(data), example)

    def _data_to_hold(self, data: bytes) -> bytes:
        return b"" if self.job.pieces_per_shard is None else data  # a loose file has been written

    def finish(self, shard: int, pieces: Mapping[int, Piece]) -> None:
        """Writes a shard's records, sizes and manifest; the manifest comes last and means that the shard is done."""
        job, shards = self.job, self.job.shards
        mine = {piece.path: piece.data for piece in pieces.values() if piece.path is not None}
        kept = self.files.finish(shard, mine)
        if kept != mine:  # another task wrote them first
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
