import json

import numpy as np
import pytest

from beam_pipelines.survey import estimate, estimate_text
from beam_pipelines.survey.estimate import Range
from beam_pipelines.survey.sample_counts import Counted, is_chosen


def corpus(rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
    """Files whose notes follow their sizes but for some noise; one of twelve gives nothing."""
    sizes = rng.lognormal(9, 1, num).astype(int) + 50
    notes = (sizes / 8 * rng.uniform(0.7, 1.3, num)).astype(int) + 1
    notes[rng.random(num) < 1 / 12] = 0
    return {"sizes": sizes, "notes": notes, "seconds": notes * 0.1, "record_bytes": notes * 6}


def count(files: dict[str, np.ndarray], rows=slice(None)) -> Counted:
    counted = Counted()
    chosen = {name: values[rows] for name, values in files.items()}
    counted.add_files(chosen.pop("sizes"), **chosen)
    return counted


def small() -> Counted:
    """Three files: two examples and a reject."""
    counted = Counted(work_seconds=3.0)
    counted.add_files([100, 300, 200], notes=[10, 40, 0], seconds=[1800.0, 5400.0, 0.0], record_bytes=[84, 284, 0])
    counted.add_reject("truncated", "c.mid", "the file ends early")
    counted.salvaged["clamped"] += 1
    counted.duplicates["exact"] += 1
    return counted


def test_a_whole_reading_is_exact():
    whole = estimate.estimate(small(), num_inputs=3, num_bytes=600, other_files=4, fixed_seconds=1.0, tasks=(1, 2))
    assert whole.is_whole
    assert (whole.examples, whole.notes, whole.hours) == (Range(2, 2, 2), Range(50, 50, 50), Range(2, 2, 2))
    assert whole.dataset_bytes == Range(400, 400, 400)  # with 16 bytes of framing a record
    assert whole.rejects == {"truncated": Range(1, 1, 1)}
    assert whole.salvaged == {"clamped": Range(1, 1, 1)}
    assert whole.duplicates == {"exact": Range(1, 1, 1)}
    assert whole.unseen == 0
    assert whole.wall_seconds == {1: 4.0, 2: 2.5}


def test_sums_of_a_sample_follow_bytes():
    part = estimate.estimate(small(), num_inputs=30, num_bytes=12_000, tasks=(1, 4), fixed_seconds=2.0)
    assert not part.is_whole
    assert part.notes.value == 50 / 600 * 12_000
    assert part.hours.value == 2 / 600 * 12_000
    assert part.examples.value == 20  # counts of files follow files
    assert part.wall_seconds == {1: 62.0, 4: 17.0}
    assert part.duplicates == {"exact": Range(10, 10, 100)}
    assert part.unseen == 27  # no more than were not read


def test_without_bytes_sums_follow_files():
    part = estimate.estimate(small(), num_inputs=30)
    assert part.notes.value == 500
    assert part.wall_seconds[1] == 30


def test_what_was_seen_is_there_at_least():
    part = estimate.estimate(small(), num_inputs=4, num_bytes=700)
    assert part.notes.low >= 50
    assert (part.examples.low, part.examples.high) == (2, 3)
    assert part.rejects["truncated"].low == 1


@pytest.mark.parametrize("num_bytes_known", [True, False])
def test_nineteen_of_twenty_ranges_hold(num_bytes_known):
    rng = np.random.default_rng(3)
    files = corpus(rng, 5000)
    num_bytes = int(files["sizes"].sum()) if num_bytes_known else None
    hits = np.zeros(3, int)
    for _ in range(200):
        rows = rng.choice(5000, 500, replace=False)
        part = estimate.estimate(count(files, rows), num_inputs=5000, num_bytes=num_bytes)
        truth = [files["notes"].sum(), files["seconds"].sum() / 3600, (files["notes"] > 0).sum()]
        hits += [
            each.low <= true <= each.high
            for each, true in zip([part.notes, part.hours, part.examples], truth, strict=True)
        ]
    assert (hits >= 180).all() and (hits < 200).all(), hits


def test_bytes_make_ranges_narrow():
    files = corpus(np.random.default_rng(5), 3000)
    counted = count(files, slice(0, 300))
    by_files = estimate.estimate(counted, num_inputs=3000).notes
    by_bytes = estimate.estimate(counted, num_inputs=3000, num_bytes=int(files["sizes"].sum())).notes
    assert by_bytes.high - by_bytes.low < 0.6 * (by_files.high - by_files.low)


@pytest.mark.parametrize(("files", "num_inputs"), [(0, 5), (3, 2)])
def test_nothing_read_or_too_much(files, num_inputs):
    with pytest.raises(ValueError, match=f"{files} files were read, want 1 to {num_inputs}"):
        estimate.estimate(Counted(files=files), num_inputs=num_inputs)


# ----------------------------------------------------------------------------------------------- counting


def test_parts_add_up_to_the_whole_in_any_order():
    files = corpus(np.random.default_rng(1), 40)
    parts = [count(files, slice(first, first + 10)) for first in range(0, 40, 10)]
    for number, part in enumerate(parts):
        part.work_seconds = 0.5
        part.add_reject("no_notes", f"{9 - number}.mid", "silent")
        part.salvaged["repaired"] += number
    forward, backward = Counted(), Counted()
    for part in parts:
        forward.add(part)
    for part in reversed(parts):
        backward.add(part)
    whole = count(files)
    assert forward.measures["notes"].total == whole.measures["notes"].total == files["notes"].sum()
    assert forward.byte_squares == whole.byte_squares
    assert (forward.files, forward.bytes, forward.work_seconds) == (40, files["sizes"].sum(), 2.0)
    assert forward.salvaged == {"repaired": 6}
    assert forward.rejects == {"no_notes": 4}
    three = [(f"{number}.mid", "silent") for number in (6, 7, 8)]  # the smallest sources
    assert forward.reject_examples == backward.reject_examples == {"no_notes": three}


def test_a_larger_sample_only_adds_files():
    sources = [f"folder/{number}.mid" for number in range(4000)]
    chosen = {share: {source for source in sources if is_chosen(source, share)} for share in (0, 0.1, 0.5, 1)}
    assert chosen[0] == set()
    assert chosen[1] == set(sources)
    assert chosen[0.1] < chosen[0.5]
    assert 340 < len(chosen[0.1]) < 460
    assert is_chosen("a\udcff.mid", 1)  # a name that is not UTF-8


# -------------------------------------------------------------------------------------------------- words


def test_the_table_of_a_whole_corpus():
    whole = estimate.estimate(small(), num_inputs=3, num_bytes=600, other_files=4, tasks=(1, 2))
    assert estimate_text.format_estimate(whole).splitlines() == [
        "3 inputs (600 bytes), 4 other files",
        "all of them were read",
        "  examples                              2",
        "  notes                                50",
        "  hours of music                      2.0",
        "  size of the dataset           400 bytes",
        "  rejects                               1",
        "    truncated                           1",
        "      c.mid: the file ends early",
        "  salvaged                              1",
        "    clamped                             1",
        "  exact duplicates                      1",
        "time to encode it, a core a task as fast as this one: 1 task 3.0 s, 2 tasks 1.5 s",
    ]


def test_the_table_of_a_sample():
    part = estimate.estimate(small(), num_inputs=300, num_bytes=120_000, tasks=(1,))
    lines = estimate_text.format_estimate(part).splitlines()
    assert lines[:5] == [
        "300 inputs (120.0 KB), 0 other files",
        "3 of them were read (600 bytes, 1 %), chosen by a hash of their names",
        "ranges hold 19 times of 20",
        "                                     read     whole corpus",
        "  examples                              2              200   63 to 281",
    ]
    assert lines[-3:] == [
        f"  exact duplicates                      1 {'':>16}   100 to 200: a copy shows only beside its original",
        "a reason that none of these files had may still be that of up to 297 inputs",
        "time to encode it, a core a task as fast as this one: 1 task 10 min",
    ]


def test_json_holds_it_all():
    got = json.loads(json.dumps(estimate.estimate(small(), num_inputs=3, num_bytes=600, tasks=(2,)).to_dict()))
    assert got["inputs"] == 3 and got["read"]["notes"] == 50
    assert got["notes"] == {"value": 50, "low": 50, "high": 50}
    assert got["rejects"] == {"truncated": {"value": 1, "low": 1, "high": 1}}
    assert got["reject_examples"] == {"truncated": [{"path": "c.mid", "message": "the file ends early"}]}
    assert got["wall_seconds"] == {"2": 1.5}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (1.25e9, "1.2 GB"), (3e12, "3.0 TB"), (4e15, "4,000.0 TB")],
)
def test_bytes_for_people(number, text):
    assert estimate_text.format_bytes(number) == text
