"""The output of a generation job whose pieces are made with arrays, not by a model; written as `generate` writes it."""

from __future__ import annotations

import pathlib

import numpy as np

from generation_jobs.job import job as jobs
from generation_jobs.job.job import Job
from generation_jobs.job.piece_keeper import PendingSample, PieceKeeper
from generation_jobs.output import manifest
from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings.requests import Result, Settings
from job_runtime.command import TO_CONTINUE, Interrupted, StopSignal
from job_runtime.logs.progress import progress
from midi_codec.music.notes import DEFAULT_TEMPO, MILLISECONDS, Notes

NUM_NOTES = 16, 32  # of a piece, fewest and most
SAMPLES_PER_SEED, PIECES_PER_SHARD = 10, 512
COPY_EVERY = 1000  # of so many pieces, one is the one before it


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
        seeds=[Seed(id=f"seed-{number:07d}") for number in range(num_seeds)],
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
    for shard in progress(missing, unit="shards", label="making pieces"):
        kept = {}
        for number in job.shards.numbers(shard):
            outcome = keeper.keep(PendingSample(number), Result(make_notes(number), 0, -100.0, True))
            assert outcome.piece is not None, outcome.error
            kept[number] = outcome.piece
        keeper.finish(shard, kept)
        if stop.requested:
            raise Interrupted(TO_CONTINUE)


def make_notes(key: int) -> Notes:
    """Chords of two notes, at random."""
    rng = np.random.Generator(np.random.Philox(key - (key % COPY_EVERY == COPY_EVERY - 1)))
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
