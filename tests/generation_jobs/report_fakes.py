"""Folders as the report reads them: a finished generation job, a dataset, a training run. Small, made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from generation_jobs.output import manifest, piece_bytes, piece_files
from generation_jobs.output.shards import Shards
from generation_jobs.settings.requests import Result
from job_runtime import storage
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo, Histogram, SplitInfo
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import MILLISECONDS, Notes
from midi_codec.music.signatures import Signatures

BUNDLE_HASH = "b" * 32
SETTINGS = {"temperature": 0.9, "top_k": None, "top_p": 0.95, "max_notes": 300, "max_seconds": None}


def make_notes(num_notes: int = 40, *, rng_seed: int = 0, time_base: str = MILLISECONDS) -> Notes:
    """A wandering melody over two programs and drums; at least one note."""
    rng = np.random.default_rng(rng_seed)
    step = rng.choice([0, 120, 240, 480], num_notes)
    step[0] = 0
    return Notes.from_columns(
        pitch=np.clip(60 + np.cumsum(rng.integers(-4, 5, num_notes)), 30, 90),
        velocity=rng.integers(40, 120, num_notes),
        start=np.cumsum(step),
        duration=rng.choice([110, 230, 470, 900], num_notes),
        program=rng.choice([0, 40, 128], num_notes, p=[0.6, 0.3, 0.1]),
        time_base=time_base,
    )


def make_music(
    root: Path,
    pieces: Sequence[tuple[str, int, Notes]],
    *,
    num_primer_notes: int = 8,
    num_shards: int = 1,
    dataset: str = "d" * 32,
    log_likelihoods: Mapping[tuple[str, int], float] | None = None,
) -> None:
    """A finished job of (seed id, sample, notes); the likelihood per note falls with the index in the list."""
    origin = {"rng_seed": 0, "bundle": BUNDLE_HASH, "precision": "float32", "dataset": dataset}
    origin |= {"settings": SETTINGS, "code_version": "c0de"}
    lines = []
    for index, (seed_id, sample, notes) in enumerate(pieces):
        num_given = min(num_primer_notes, len(notes))
        likelihood = -(5.0 + 0.05 * index) * (len(notes) - num_given)
        if log_likelihoods:
            likelihood = log_likelihoods[seed_id, sample]
        result = Result(notes, num_given, likelihood, index % 2 == 0)
        path = root / piece_files.loose_path(seed_id, sample)
        line = manifest.make_line(
            seed_id=seed_id,
            sample=sample,
            path=str(path.relative_to(root)),
            result=result,
            origin=origin,
            screening=None,
            signatures=piece_bytes.describe_signatures(notes, Signatures()),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(piece_bytes.serialize_midi(line, notes))
        lines.append(line)
    shards = Shards(len(pieces), -(-len(pieces) // num_shards) or 1)
    job = {
        "format_version": manifest.FORMAT_VERSION,
        "num_samples": len(pieces),
        "pieces_per_shard": shards.pieces_per_shard,
    }
    (root / manifest.JOB_FILE).write_text(json.dumps(job))
    for shard in range(len(shards)):
        mine = [manifest.dumps(lines[number]) for number in shards.numbers(shard)]
        storage.write_bytes(str(root / shards.manifest(shard)), manifest.join_lines(mine))


def make_dataset(root: Path, pieces: Mapping[str, Sequence[Notes]], *, time_base: str = MILLISECONDS) -> DatasetInfo:
    """A dataset with one shard per split; splits that are not named are empty."""
    root.mkdir(parents=True, exist_ok=True)
    splits, histograms = {}, {}
    for split in SPLITS:
        notes = list(pieces.get(split, []))
        examples = [records.serialize_example(Piece(n.piece_id, n.piece_id, f"{n.piece_id}.mid", n)) for n in notes]
        splits[split] = SplitInfo(
            num_pieces=len(notes),
            num_notes=sum(map(len, notes)),
            seconds=sum(n.seconds for n in notes),
            shard_lengths=(len(notes),) if notes else (),
        )
        histograms[split] = {column: Histogram() for column in dataset_info.COLUMNS}
        if notes:
            (root / dataset_info.shard_name(split, 0, 1)).write_bytes(records.write_records(examples))
    info = DatasetInfo.of_examples(
        time_base=time_base,
        programs=(0, 40, 128),
        splits=splits,
        histograms=histograms,
    )
    dataset_info.save(str(root), info)
    return info


def make_run(
    root: Path, *, num_points: int = 12, bundle_hash: str = BUNDLE_HASH, time_base: str = MILLISECONDS
) -> None:
    """A run whose validation goes from 9 to 6 nats per note."""
    fields = {"step": 2.0, "pitch": 2.4, "duration": 1.0, "velocity": 0.6}
    points: list[dict[str, Any]] = []
    for index in range(num_points):
        rest = 3.0 * float(np.exp(-4 * index / num_points))
        by_field = {f"validation_nll_{name}": nll * (1 + rest / 6) for name, nll in fields.items()}
        points.append(
            {"step": 200 * (index + 1), "epoch": index / 2, "seconds": 10.0 * index, "train_loss": 3.1 + rest}
            | {"validation_nll": 6.0 + rest, "learning_rate": 1e-3}
            | by_field
        )
    (root / "bundle").mkdir(parents=True)
    (root / "metrics.jsonl").write_text("".join(f"{json.dumps(point)}\n" for point in points))
    baselines = {
        "unigram": {"nll": 9.1, "by_field": {name: nll + 0.8 for name, nll in fields.items()}},
        "bigram": {"nll": 7.4, "by_field": {name: nll + 0.3 for name, nll in fields.items()}},
        "5-gram": {"nll": 7.0, "by_field": {name: nll + 0.2 for name, nll in fields.items()}},
    }
    metrics = {
        "validation_nll": 6.055,
        "validation_nll_by_field": fields,
        "accuracy": {"pitch": 0.412, "velocity": 0.35},
        "error_milliseconds": {"step": 41.0, "duration": 120.4},
        "step": 200 * num_points,
        "baselines": baselines,
    }
    described = {
        "format_version": 2,
        "hash": bundle_hash,
        "weights": "weights.npz",
        "config": {},
        "fields": {"fields": []},
        "dataset": {"hash": "d" * 32, "time_base": time_base},
        "metrics": metrics,
        "deviations": {},
    }
    (root / "bundle" / "bundle.json").write_text(json.dumps(described))
