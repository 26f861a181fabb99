"""What planning a corpus takes, without its music: seconds, memory and temporary disk, for synthetic headers of parts.

    python -m benchmarks.plan --pieces 100000 1000000 10000000

Of the pieces, a tenth are exact duplicates and a tenth near-duplicates of others. A process per size makes the headers
of all parts, plans, writes the ledgers and asks for the entries of every shard, as the last step of an encode does; it
does not write the shards. What it takes to make the headers is said apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.fingerprints import NUM_VALUES
from beam_pipelines.encoding.ledger import Reject
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution import dataset_steps
from beam_pipelines.execution.encode_job import EncodeJob
from beam_pipelines.planning import digests
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.settings.encode_settings import Settings, default_num_shards
from beam_pipelines.settings.splits import DEFAULT_PERCENTS, SplitRule
from benchmarks.harness.phases import phase
from job_runtime import command
from midi_codec.dataset.dataset_info import SPLITS
from midi_codec.midi.midi_header import Limits

PIECES_PER_PART = 250
EXACT_SHARE = NEAR_SHARE = 0.1
AGREEING = 0.6  # of the bins of near-duplicates
REJECTS_PER_PART = 2


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.plan", __doc__)
    parser.add_argument("--pieces", type=int, nargs="+", default=[100_000], help="sizes of the corpus")
    parser.add_argument("--near-duplicates", default="group", help="as of encode_corpus")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work is not None:
        print(json.dumps(work(args.work, args.near_duplicates)), flush=True)
        return command.OK
    for pieces in args.pieces:
        child = [sys.executable, "-m", "benchmarks.plan", "--near-duplicates", args.near_duplicates]
        done = subprocess.run([*child, "--work", str(pieces)], stdout=subprocess.PIPE, check=True)
        print(json.dumps({"pieces": pieces, **json.loads(done.stdout.splitlines()[-1])}), flush=True)
    return command.OK


def work(num_pieces: int, near_duplicates: str) -> dict[str, Any]:
    """One process's figures: seconds, and the most megabytes of its own, by phase."""
    settings = Settings(
        inputs_hash="0" * 32,
        split_rule=SplitRule(percents=DEFAULT_PERCENTS),
        limits=Limits(),
        near_duplicates=near_duplicates,
        num_shards=default_num_shards(num_pieces),
    )
    figures: dict[str, Any] = {}
    num_parts = -(-num_pieces // PIECES_PER_PART)
    headers = PartHeaders()
    with tempfile.TemporaryDirectory(prefix="benchmark-plan-") as output:
        job = EncodeJob(
            output=output,
            settings=settings,
            splits=SPLITS,
            num_inputs=num_parts * (PIECES_PER_PART + REJECTS_PER_PART),
            other_files=0,
        )
        with phase(figures, "headers"):
            making = 0.0
            for number in range(num_parts):
                start = time.process_time()
                part = make_part(number, settings)
                making += time.process_time() - start
                headers.add(part)
        figures["headers"]["processor_seconds_to_make_them"] = round(making, 1)
        with phase(figures, "plan"):
            plan = dataset_steps.plan_dataset(job, headers)
        with phase(figures, "ledgers"):
            ledgers = dataset_steps.write_ledgers(job, plan, ())
        with phase(figures, "entries"):
            num_entries = sum(map(len, plan.entries))
        sizes = {name: os.path.getsize(os.path.join(output, name)) for name in sorted(os.listdir(output))}
    assert num_entries == num_parts * PIECES_PER_PART
    figures["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    examples = sum(split.num_pieces for split in plan.splits.values())
    figures["found"] = {"examples": examples, "ledgers": ledgers, **plan.groups}
    figures["written_megabytes"] = {name: size // 10**6 for name, size in sizes.items()}
    return figures


def make_part(number: int, settings: Settings) -> Part:
    """A part whose last pieces are exact and near-duplicates of pieces of an earlier part, if there is one."""
    ids, signatures = originals(number)
    num_exact, num_near = int(EXACT_SHARE * PIECES_PER_PART), int(NEAR_SHARE * PIECES_PER_PART)
    if number:
        rng = np.random.default_rng([number, 1])
        other_ids, other_signatures = originals(int(rng.integers(number)))
        ids[-num_exact:], signatures[-num_exact:] = other_ids[:num_exact], other_signatures[:num_exact]
        near = slice(-num_exact - num_near, -num_exact)
        is_same = rng.random((num_near, NUM_VALUES)) < AGREEING
        signatures[near] = np.where(is_same, other_signatures[num_exact : num_exact + num_near], signatures[near])
    rows = np.zeros(PIECES_PER_PART, part_file.ROW)
    rows["piece_id"] = ids
    random = np.ascontiguousarray(digests.pack(ids)).view(np.uint32).reshape(-1, 4)  # not the hashes of an encode
    rows["split"] = (random[:, :1] % 100 >= np.cumsum(DEFAULT_PERCENTS)).sum(axis=1)
    rows["shard"] = random[:, 1] % settings.num_shards
    rows["num_notes"], rows["seconds"], rows["length"] = 1000, 123.456, 6000
    order = np.argsort(rows["shard"], kind="stable")
    rows = rows[order]
    rows["offset"] = np.arange(len(rows)) * 6000
    reject = "the file has no header chunk (MThd)"
    return Part(
        rows=rows,
        sources=[f"collection/{number % 1000:03d}/a title of some length {number:06d}-{row:03d}.mid" for row in order],
        signatures=signatures[order],
        contents=np.random.default_rng([number, 2]).integers(0, 1 << 63, (len(rows) + REJECTS_PER_PART, 2), np.uint64),
        counts={},
        rejects=[
            Reject(f"collection/broken {number}-{index}.mid", "0" * 64, "parse", "no_header", reject)
            for index in range(REJECTS_PER_PART)
        ],
        salvaged=[],
        num_inputs=len(rows) + REJECTS_PER_PART,
        num_listed=len(rows) + REJECTS_PER_PART,
    )


def originals(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids and signatures of a part, before some of its pieces become copies."""
    rng = np.random.default_rng(number)
    ids = digests.unpack(np.frombuffer(rng.bytes(16 * PIECES_PER_PART), digests.DTYPE))
    return ids, rng.integers(1, 1 << 16, (PIECES_PER_PART, NUM_VALUES), np.uint16)


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.plan", main))
