import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_runtime import json_text
from midi_codec import fields
from midi_codec.fields import CATEGORY, MAX_TICK, MSE, TIME, FieldSpec, FieldTable, build_field_table, choose_time_edges
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.trainer.tiny import COMPOSER, LIVE, make_table

STEP = FieldSpec(name="step", kind=TIME, edges=(0, 1, 5, MAX_TICK + 1), largest=30)
PROGRAM = FieldSpec(name="program", kind=CATEGORY, values=(0, 40, 128))
HISTOGRAMS = {"step": ([0, 10, 250], [3, 2, 5]), "duration": ([100, 200], [1, 1])}


def cost_of(edges, values, counts) -> float:
    """The stated criterion, plainly: mean log span, with a thousandth of the mass even over log time."""
    total = 0.0
    for low, high in itertools.pairwise(edges):
        seen = sum(count for value, count in zip(values, counts, strict=True) if low <= value < high) / sum(counts)
        spread = (np.log1p(high) - np.log1p(low)) / np.log1p(MAX_TICK + 1)
        total += (0.999 * seen + 0.001 * spread) * np.log(high - low)
    return total


CASES = {
    "a grid": ([0, 6, 12], [5, 9, 2]),
    "smooth": ([1, 2, 3, 4, 5, 6, 7], [4, 4, 4, 4, 4, 4, 4]),
    "one tick": ([0], [3]),
    "skewed": ([2, 3, 50], [100, 1, 1]),
}


def test_a_rare_long_time_has_a_bin_of_its_like():
    """One bin from 101 to 20,000 ticks would cost little, but most of what is drawn in it would be like no note."""
    values, counts = [*range(100, 110), 130, 20_000], [1000] * 10 + [1, 1]
    edges = choose_time_edges(np.array(values), np.array(counts))
    for value in values:
        index = int(np.searchsorted(edges, value, side="right")) - 1
        low, high = int(edges[index]), int(edges[index + 1])
        assert low <= value < high <= 1.5 * low
    assert len(edges) - 1 <= 32


@pytest.mark.parametrize("values, counts", CASES.values(), ids=CASES)
@pytest.mark.parametrize("max_bins", [2, 3, 4, 5])
def test_edges_minimise_the_mean_log_span(monkeypatch, values, counts, max_bins):
    last = values[-1] + 1
    inner = {value + offset for value in values for offset in (0, 1)} | {last, 9, 1000}
    candidates = sorted({0, MAX_TICK + 1} | inner)
    monkeypatch.setattr(fields, "_candidate_edges", lambda *_: np.array(candidates))
    monkeypatch.setattr(fields, "WIDTH_MULTIPLE", 1)
    monkeypatch.setattr(fields, "NATS_WORTH_MORE_BINS", 0.0)
    monkeypatch.setattr(fields, "TOO_WIDE", 0.0)
    best = min(
        cost_of((0, *chosen, MAX_TICK + 1), values, counts)
        for size in range(1, max_bins)
        for chosen in itertools.combinations(candidates[1:-1], size)
        if last in chosen
    )
    edges = choose_time_edges(np.array(values), np.array(counts), max_bins=max_bins)
    assert len(edges) - 1 <= max_bins and last in edges
    assert cost_of(edges, values, counts) == pytest.approx(best, rel=1e-12)


def test_no_edge_can_be_moved_to_a_better_place():
    rng = np.random.default_rng(0)
    values, counts = np.unique(np.floor(rng.lognormal(4, 1, 3000)).astype(np.int64), return_counts=True)
    edges = choose_time_edges(values, counts)
    candidates = fields._candidate_edges(values, counts)
    shares = np.cumsum(counts) / counts.sum()

    def cost(of):
        below = np.append(0, shares)[np.searchsorted(values, of)]
        mass = 0.999 * below + 0.001 * np.log1p(of) / np.log1p(MAX_TICK + 1)
        return (np.diff(mass) * np.log(np.diff(of))).sum()

    assert cost(edges) == pytest.approx(cost_of(edges, values, counts), rel=1e-9)
    for index in range(1, len(edges) - 1):
        if edges[index] == values[-1] + 1:
            continue  # the largest tick stays a boundary
        for other in candidates[(candidates > edges[index - 1]) & (candidates < edges[index + 1])]:
            moved = edges.copy()
            moved[index] = other
            assert cost(moved) >= cost(edges) - 1e-12


HISTOGRAM = st.dictionaries(
    st.integers(0, 5000) | st.integers(0, MAX_TICK), st.integers(1, 1000), min_size=1, max_size=40
)


@settings(max_examples=25, deadline=None)
@given(HISTOGRAM)
def test_every_tick_has_one_bin(histogram):
    values = np.array(sorted(histogram))
    edges = choose_time_edges(values, np.array([histogram[value] for value in values.tolist()]))
    assert edges[0] == 0 and edges[-1] == MAX_TICK + 1
    assert (np.diff(edges) > 0).all() and len(edges) <= fields.MAX_TIME_BINS + 1
    assert values[-1] + 1 in edges
    field = FieldSpec(name="step", kind=TIME, edges=tuple(edges.tolist()), largest=int(values[-1]))
    ticks = np.unique(np.concatenate([edges[:-1], edges[1:] - 1, values]))
    bins = field.encode(ticks)
    assert (field.lows[bins] <= ticks).all() and (ticks < field.lows[bins] + field.spans[bins]).all()
    assert field.spans.sum() == MAX_TICK + 1
    assert not field.unknown(ticks).size


def test_a_beat_grid_gets_a_bin_a_value():
    values = np.arange(0, 97, 6)
    field = FieldSpec(name="step", kind=TIME, edges=tuple(choose_time_edges(values, np.full(17, 100)).tolist()))
    assert field.spans[field.encode(values)].tolist() == [1] * 17


def test_smooth_time_gets_bins_of_about_equal_mass():
    values = np.arange(1000)
    edges = choose_time_edges(values, np.ones(1000))
    spans = np.diff(edges[edges <= 1000])
    assert spans.max() <= 4 * np.median(spans)


@pytest.mark.parametrize(
    "values, counts, want",
    [
        ([], [], "the histogram is empty, want at least one tick with a count"),
        ([3], [0], "the histogram is empty, want at least one tick with a count"),
        ([-1, 3], [1, 1], f"ticks run from -1 to 3, want 0 to {MAX_TICK}"),
        ([0, MAX_TICK + 1], [1, 1], f"ticks run from 0 to {MAX_TICK + 1}, want 0 to {MAX_TICK}"),
    ],
)
def test_a_histogram_that_cannot_be(values, counts, want):
    with pytest.raises(ValueError) as error:
        choose_time_edges(np.array(values), np.array(counts))
    assert str(error.value) == want


def test_a_field_of_categories():
    assert (PROGRAM.num_bins, PROGRAM.width) == (3, 16)
    assert PROGRAM.encode(np.array([[128, 0], [40, 40]])).tolist() == [[2, 0], [1, 1]]
    assert PROGRAM.lows.tolist() == [0, 40, 128] and PROGRAM.spans.tolist() == [1, 1, 1]
    assert PROGRAM.log_spans.tolist() == [0, 0, 0]
    assert PROGRAM.unknown(np.array([40, 7, 129, 7])).tolist() == [7, 129]


def test_a_field_of_time():
    assert (STEP.num_bins, STEP.width) == (3, 16)
    assert STEP.encode(np.array([0, 1, 4, 5, MAX_TICK])).tolist() == [0, 1, 1, 2, 2]
    assert STEP.encode(np.array([4])).dtype == np.int32
    assert STEP.spans.tolist() == [1, 4, MAX_TICK - 4]
    np.testing.assert_allclose(STEP.log_spans, np.log([1, 4, MAX_TICK - 4]), rtol=1e-7)
    assert STEP.unknown(np.array([-1, 0, 3, MAX_TICK, MAX_TICK + 1])).tolist() == [-1, MAX_TICK + 1]


@pytest.mark.parametrize("bins, width", [(1, 16), (16, 16), (17, 32)])
def test_a_width_fills_whole_registers(bins, width):
    assert FieldSpec(name="pitch", kind=CATEGORY, values=tuple(range(bins))).width == width


def test_the_table_of_a_corpus():
    table = build_field_table(HISTOGRAMS, programs=(0, 128), time_base=BEATS)
    assert table.names == ("step", "pitch", "duration", "velocity", "program")
    assert table.only_program is None and table.time_base == BEATS and len(table) == 5
    assert table["pitch"].values == tuple(range(128)) and table["velocity"].values == tuple(range(1, 128))
    assert table["program"].values == (0, 128)
    assert table["step"].largest == 250 and table["duration"].largest == 200
    mean = (3 * 0 + 2 * 10 + 5 * 250) / 10
    spread = ((3 * mean**2 + 2 * (10 - mean) ** 2 + 5 * (250 - mean) ** 2) / 10) ** 0.5
    assert table["step"].scale == pytest.approx(spread) and table["duration"].scale == pytest.approx(50.0)
    assert {field.loss for field in table} == {"categorical"}


def test_one_program_needs_no_field():
    table = build_field_table(HISTOGRAMS, programs=(40,), time_base=MILLISECONDS, timing_loss=MSE)
    assert table.names == ("step", "pitch", "duration", "velocity") and table.only_program == 40
    assert [field.loss for field in table] == [MSE, "categorical", MSE, "categorical"]


def test_a_field_without_spread_has_a_scale_of_one_tick():
    table = build_field_table({**HISTOGRAMS, "step": ([4], [9])}, programs=(0,), time_base=BEATS)
    assert table["step"].scale == 1.0


@pytest.mark.parametrize("programs", [(5,), (0, 128)])
def test_json_gives_the_same_table_back(programs):
    table = build_field_table(HISTOGRAMS, programs=programs, time_base=BEATS, timing_loss=MSE)
    assert FieldTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_json_with_an_unknown_key_is_refused():
    described = FieldTable((STEP,), BEATS).to_json()
    described["fields"][0]["colour"] = "red"
    with pytest.raises(ValueError, match=r"fields\[0\].colour is not known, want one of name, kind, "):
        FieldTable.from_json(described)


def make_notes(**changes) -> Notes:
    columns = {"pitch": [60, 62], "velocity": [80, 90], "start": [0, 4], "duration": [3, 9], "program": [0, 40]}
    return Notes.from_columns(**{name: np.array(column) for name, column in (columns | changes).items()})


def test_raw_and_encode_follow_the_order_of_the_table():
    table = FieldTable((STEP, dataclasses.replace(PROGRAM)), MILLISECONDS)
    raw = table.raw(make_notes())
    assert raw.tolist() == [[0, 0], [4, 40]] and raw.dtype == np.int32
    assert table.encode(raw).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("programs", [(0, 128), (7,)])
def test_values_make_the_notes_they_come_from(programs):
    table = build_field_table(
        {"step": ((0, 3, 8), (2, 1, 1)), "duration": ((4, 9), (2, 2))}, programs=programs, time_base=BEATS
    )
    notes = Notes.from_columns(
        pitch=np.array([60, 64, 60, 67]),
        velocity=np.array([90, 80, 70, 60]),
        start=np.array([0, 0, 3, 11]),
        duration=np.array([9, 4, 4, 9]),
        program=np.array([programs[0], programs[-1], programs[0], programs[-1]]),
        tempo=90.0,
        time_base=BEATS,
    )
    raw = table.raw(notes)
    assert table.to_notes(raw, tempo=90.0) == notes
    raw[0, 0] = 5  # what comes before the first onset is no part of a piece
    assert table.to_notes(raw, tempo=90.0) == notes
    assert len(table.to_notes(raw[:0], tempo=90.0)) == 0


def test_problems_names_everything_a_model_cannot_take():
    table = FieldTable((STEP, PROGRAM), BEATS)
    assert FieldTable((STEP, PROGRAM), MILLISECONDS).problems(make_notes()) == []
    assert table.problems(make_notes(program=[7, 9])) == [
        "the notes are on a grid of milliseconds, want beats",
        "program 7, 9 does not occur in the model's corpus",
    ]
    only = FieldTable((STEP,), MILLISECONDS, only_program=40)
    assert only.problems(make_notes()) == ["program 0 given, but the model knows only 40"]
    assert only.problems(make_notes(program=[40, 40])) == []


def test_labels_of_a_table():
    table = dataclasses.replace(make_table(), labels=(COMPOSER, LIVE))
    assert FieldTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert "labels" not in make_table().to_json()
    assert [COMPOSER.index(value) for value in ("Bach", "Mozart", "Haydn", "", None)] == [1, 2, 0, 0, 0]
    damaged = {**table.to_json(), "labels": [{"name": "a b", "values": []}, {"name": "x", "values": ["b", "a"]}] * 2}
    with pytest.raises(json_text.JsonError) as error:
        FieldTable.from_json(damaged)
    assert [problem.split(",")[0] for problem in error.value.problems] == [
        "labels has a name twice",
        *["labels: 'a b' is not the name of a label", "labels.a b.values is ()", "labels.x.values is ('b'"] * 2,
    ]
