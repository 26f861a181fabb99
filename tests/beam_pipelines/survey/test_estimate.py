import numpy as np
import pytest

from beam_pipelines.encoding.ledger import Reject, Salvaged
from beam_pipelines.survey import estimate, estimate_text
from beam_pipelines.survey.estimate import Range, Sample
from beam_pipelines.survey.read_sample import is_chosen


def corpus(rng: np.random.Generator, num: int) -> Sample:
    """Files whose notes follow their sizes with some noise; one of twelve gives nothing."""
    sizes = rng.lognormal(9, 1, num).astype(int) + 50
    notes = (sizes / 8 * rng.uniform(0.7, 1.3, num)).astype(int) + 1
    notes[rng.random(num) < 1 / 12] = 0
    return sample(sizes=sizes, examples=notes > 0, notes=notes, seconds=notes * 0.1, record_bytes=notes * 6)


def sample(*, sizes, work_seconds: float = 0.0, rejects=(), salvaged=(), duplicates=None, **measures) -> Sample:
    return Sample(
        sizes=np.asarray(sizes, np.float64),
        measures={name: np.asarray(values, np.float64) for name, values in measures.items()},
        work_seconds=work_seconds,
        rejects=rejects,
        salvaged=salvaged,
        duplicates=duplicates or {},
    )


def rows_of(files: Sample, rows) -> Sample:
    return Sample(sizes=files.sizes[rows], measures={name: values[rows] for name, values in files.measures.items()})


def small() -> Sample:
    """Three files: two examples and a reject."""
    return sample(
        sizes=[100, 300, 200],
        examples=[1, 1, 0],
        notes=[10, 40, 0],
        seconds=[1800.0, 5400.0, 0.0],
        record_bytes=[100, 300, 0],
        work_seconds=3.0,
        rejects=[Reject("c.mid", None, "parse", "truncated", "the file ends early")],
        salvaged=[Salvaged("a.mid", "00", "clamped")],
        duplicates={"exact": 1},
    )


def test_a_whole_reading_is_exact():
    whole = estimate.estimate(small(), num_inputs=3, num_bytes=600, other_files=4, fixed_seconds=1.0, tasks=(1, 2))
    assert whole.is_whole
    assert (whole.examples, whole.notes, whole.hours) == (Range(2, 2, 2), Range(50, 50, 50), Range(2, 2, 2))
    assert whole.dataset_bytes == Range(400, 400, 400)
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
    num_bytes = files.num_bytes if num_bytes_known else None
    hits = np.zeros(3, int)
    for _ in range(200):
        rows = rng.choice(5000, 500, replace=False)
        part = estimate.estimate(rows_of(files, rows), num_inputs=5000, num_bytes=num_bytes)
        truth = [files.total("notes"), files.total("seconds") / 3600, files.total("examples")]
        hits += [
            each.low <= true <= each.high
            for each, true in zip([part.notes, part.hours, part.examples], truth, strict=True)
        ]
    assert (hits >= 180).all() and (hits < 200).all(), hits


def test_bytes_make_ranges_narrow():
    files = corpus(np.random.default_rng(5), 3000)
    read = rows_of(files, slice(0, 300))
    by_files = estimate.estimate(read, num_inputs=3000).notes
    by_bytes = estimate.estimate(read, num_inputs=3000, num_bytes=files.num_bytes).notes
    assert by_bytes.high - by_bytes.low < 0.6 * (by_files.high - by_files.low)


@pytest.mark.parametrize(("files", "num_inputs"), [(0, 5), (3, 2)])
def test_nothing_read_or_too_much(files, num_inputs):
    with pytest.raises(ValueError, match=f"{files} files were read, want 1 to {num_inputs}"):
        estimate.estimate(Sample(sizes=np.zeros(files), measures={}), num_inputs=num_inputs)


def test_a_larger_sample_only_adds_files():
    sources = [f"folder/{number}.mid" for number in range(4000)]
    chosen = {share: {source for source in sources if is_chosen(source, share)} for share in (0, 0.1, 0.5, 1)}
    assert chosen[0] == set()
    assert chosen[1] == set(sources)
    assert chosen[0.1] < chosen[0.5]
    assert 340 < len(chosen[0.1]) < 460
    assert is_chosen("a\udcff.mid", 1)  # a name that is not UTF-8


def test_the_table_of_a_whole_corpus():
    whole = estimate.estimate(small(), num_inputs=3, num_bytes=600, other_files=4, tasks=(1, 2))
    assert estimate_text.format_estimate(whole).splitlines() == [
        "3 inputs (600 bytes), 4 other files",
        "all of them were examined",
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
        "time to encode it, with a core as fast as this one per task: 1 task 3.0 s, 2 tasks 1.5 s",
    ]


def test_the_table_of_a_sample():
    part = estimate.estimate(small(), num_inputs=300, num_bytes=120_000, tasks=(1,))
    lines = estimate_text.format_estimate(part).splitlines()
    assert lines[:5] == [
        "300 inputs (120.0 KB), 0 other files",
        "3 of them were examined (600 bytes, 1 %), chosen by a hash of their names",
        "ranges are 95% confidence intervals",
        "                                 examined     whole corpus",
        "  examples                              2              200   63 to 281",
    ]
    assert lines[-3:] == [
        f"  exact duplicates                      1 {'':>16}   100 to 200: "
        "a copy is seen only if its original was read too",
        "up to 297 inputs may have a reason that none of these files had",
        "time to encode it, with a core as fast as this one per task: 1 task 10 min",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (1.25e9, "1.2 GB"), (3e12, "3.0 TB"), (4e15, "4,000.0 TB")],
)
def test_bytes_for_people(number, text):
    assert estimate_text.format_bytes(number) == text
