"""The output of a generation job whose pieces are made with arrays, not by a model; written as `generate` writes it.

After the first shards, pieces repeat with other names, so that a million are written in two minutes.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from generation_jobs.job import job as jobs
from generation_jobs.job.job import Job
from generation_jobs.job.piece_keeper import PendingSample, Piece, PieceKeeper
from generation_jobs.output import manifest
from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings.requests import Result, Settings
from job_runtime import storage
from job_runtime.command import TO_CONTINUE, Interrupted, StopSignal
from job_runtime.logs.progress import progress
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo, Histogram, SplitInfo
from midi_codec.music.notes import DEFAULT_TEMPO, MILLISECONDS, Notes

NUM_NOTES = 16, 32  # of a piece, fewest and most
SAMPLES_PER_SEED, PIECES_PER_SHARD = 10, 500
NUM_ORIGINALS = 40  # shards
_SEED = "seed-{:07d}"


def write(output: pathlib.Path, num_pieces: int, stop: StopSignal) -> None:
    """Writes the shards that are missing.

    Raises:
      Interrupted: `stop` asked for it; finished shards stay.
    """
    num_seeds = -(-num_pieces // SAMPLES_PER_SEED)
    job = Job(
        output=str(output),
        bundle="0" * 32,
        dataset="0" * 32,
        seeds=[Seed(id=_SEED.format(number)) for number in range(num_seeds)],
        primers=Primers([None] * num_seeds, [DEFAULT_TEMPO] * num_seeds, MILLISECONDS),
        seeds_digest="0" * 32,
        settings=Settings(max_notes=NUM_NOTES[1]),
        samples_per_seed=SAMPLES_PER_SEED,
        rng_seed=0,
        pieces_per_shard=PIECES_PER_SHARD,
    )
    jobs.begin(job)
    keeper = PieceKeeper(job)
    finished = manifest.finished_shards(job.output, job.shards)
    missing = [shard for shard in range(len(job.shards)) if shard not in finished]
    originals: dict[int, Mapping[int, Piece]] = {}
    for shard in progress(missing, unit="shards", label="making pieces"):
        original = shard % NUM_ORIGINALS
        if original not in originals:
            originals[original] = {number: _make(keeper, number) for number in job.shards.numbers(original)}
        keeper.finish(shard, {piece.number: piece for piece in _renamed(job, originals[original], original, shard)})
        if stop.requested:
            raise Interrupted(TO_CONTINUE)


def _make(keeper: PieceKeeper, number: int) -> Piece:
    outcome = keeper.keep(PendingSample(number), Result(make_notes(number), 0, -100.0, True))
    assert outcome.piece is not None, outcome.error
    return outcome.piece


def _renamed(job: Job, pieces: Mapping[int, Piece], old_shard: int, shard: int) -> Iterator[Piece]:
    """The pieces of a shard as those of another; all names have the same lengths."""
    for number, piece in zip(job.shards.numbers(shard), pieces.values(), strict=False):
        old, new = (_SEED.format(each // SAMPLES_PER_SEED) for each in (piece.number, number))
        names = {old: new, job.shards.tar(old_shard): job.shards.tar(shard)}

        def rename(data: bytes, names: Mapping[str, str] = names) -> bytes:
            for before, after in names.items():
                data = data.replace(before.encode(), after.encode())
            return data

        assert piece.example is not None
        yield dataclasses.replace(
            piece,
            number=number,
            path=job.path(number),
            line=rename(piece.line.encode()).decode(),
            data=rename(piece.data),
            example=rename(piece.example),
        )


def write_dataset(output: pathlib.Path, num_pieces: int) -> None:
    """A dataset with such pieces, all in the training split, as `encode_corpus` writes it."""
    originals = [make_notes(key) for key in range(PIECES_PER_SHARD)]
    own = [_record(number, notes) for number, notes in enumerate(originals)]
    num_shards = -(-num_pieces // PIECES_PER_SHARD)
    columns = {name: np.concatenate([getattr(notes, name) for notes in originals]) for name in dataset_info.COLUMNS}
    found = {name: np.unique(values, return_counts=True) for name, values in columns.items()}
    train = SplitInfo(
        num_pieces=num_shards * PIECES_PER_SHARD,
        num_notes=num_shards * sum(map(len, originals)),
        seconds=round(num_shards * sum(notes.seconds for notes in originals), 3),
        shard_lengths=(PIECES_PER_SHARD,) * num_shards,
    )
    info = DatasetInfo.of_examples(
        time_base=MILLISECONDS,
        programs=(0,),
        splits={"train": train, "validation": SplitInfo(), "test": SplitInfo()},
        histograms={
            "train": {
                name: Histogram(values=tuple(values.tolist()), counts=tuple((num_shards * counts).tolist()))
                for name, (values, counts) in found.items()
            },
            **{split: {name: Histogram() for name in columns} for split in ("validation", "test")},
        },
    )
    paths = dataset_info.shard_paths(str(output), info, "train")
    for shard, path in enumerate(progress(paths, unit="shards", label="making a dataset")):
        renamed = (
            record.replace(_name(number), _name(shard * PIECES_PER_SHARD + number)) for number, record in enumerate(own)
        )
        storage.write_bytes(path, records.write_records(renamed), durable=False)
    dataset_info.save(str(output), info)


def _record(number: int, notes: Notes) -> bytes:
    name = _name(number).decode()
    return records.serialize_example(records.Piece(name, name, f"{name}.mid", notes))


def _name(number: int) -> bytes:
    return b"%032x" % number


def make_notes(key: int) -> Notes:
    """Chords of two notes, at random."""
    rng = np.random.Generator(np.random.Philox(key))
    chords = int(rng.integers(NUM_NOTES[0], NUM_NOTES[1], endpoint=True)) // 2
    upper = rng.integers(55, 90, chords)
    pitch = np.stack([upper, upper - rng.integers(3, 20, chords)], axis=1).reshape(-1)
    onsets = np.cumsum(np.clip(rng.lognormal(5.5, 0.5, chords), 128, 4000).astype(np.int64))
    return Notes.from_columns(
        pitch=pitch,
        velocity=rng.integers(30, 110, 2 * chords),
        start=np.repeat(onsets - onsets[0], 2),
        duration=np.repeat(rng.integers(100, 1000, chords), 2),
        program=np.zeros(2 * chords, np.int64),
        tempo=DEFAULT_TEMPO,
        time_base=MILLISECONDS,
    )
