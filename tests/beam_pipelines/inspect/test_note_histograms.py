import numpy as np
import pytest

from beam_pipelines.inspect import note_histograms
from midi_codec.dataset.dataset_info import SPLITS, Histogram
from midi_codec.music.notes import BEATS, Notes
from tests.beam_pipelines.made_datasets import make_dataset


def make_notes(*, step, duration=(100,), pitch=(60,), velocity=(64,), program=(0,), **changes) -> Notes:
    columns = np.broadcast_arrays(np.cumsum(step), *map(np.array, (duration, pitch, velocity, program)))
    names = ("start", "duration", "pitch", "velocity", "program")
    return Notes.from_columns(**dict(zip(names, columns, strict=True)), **changes)


def bars_of(tmp_path, train: Notes, test: Notes | None = None, *, coarse: bool = False):
    rows = [("train", "a.mid", None, train)] + ([("test", "b.mid", None, test)] if test is not None else [])
    info = make_dataset(tmp_path, rows, time_base=train.time_base)
    return info, {bars.name: bars for bars in note_histograms.of_dataset(info, coarse=coarse)}


def test_pitches_one_by_one_or_by_octave(tmp_path):
    notes = make_notes(step=[0, 1, 1, 1], pitch=[59, 60, 60, 71])
    info, bars = bars_of(tmp_path, notes)
    assert (bars["pitch"].labels[0], bars["pitch"].labels[-1]) == ("B3", "B4")
    assert bars["pitch"].totals == [1, 2, *[0] * 10, 1]
    assert bars["pitch"].ticks == [(1, "C4")]
    (coarse,) = (each for each in note_histograms.of_dataset(info, coarse=True) if each.name == "pitch")
    assert (coarse.labels, coarse.totals) == (["C3 to B3", "C4 to B4"], [1, 3])


def test_the_highest_pitch_has_a_bin(tmp_path):
    info, bars = bars_of(tmp_path, make_notes(step=[0, 1], pitch=[127, 0]))
    (coarse,) = (each for each in note_histograms.of_dataset(info, coarse=True) if each.name == "pitch")
    assert (coarse.labels[-1], coarse.totals[-1]) == ("C9 to G9", 1)
    assert (bars["pitch"].labels[127], bars["pitch"].totals[127]) == ("G9", 1)


def test_velocities(tmp_path):
    _, bars = bars_of(tmp_path, make_notes(step=[0, 1, 1], velocity=[1, 3, 127]), coarse=True)
    assert bars["velocity"].labels[0] == "1 to 15"
    assert bars["velocity"].totals == [2, 0, 0, 0, 0, 0, 0, 1]


def test_milliseconds_in_bins_of_growing_width(tmp_path):
    _, bars = bars_of(tmp_path, make_notes(step=[0, 1, 4, 5, 999, 1000, 30_000]), coarse=True)
    got = {label: count for label, count in zip(bars["step"].labels, bars["step"].totals, strict=True) if count}
    assert got == {
        "0 ms": 1,
        "1 ms": 1,
        "2 ms – 5 ms": 1,
        "5 ms – 10 ms": 1,
        "500 ms – 1 s": 1,
        "1 s – 2 s": 1,
        "20 s – 50 s": 1,
    }


def test_beats_in_musical_bins(tmp_path):
    notes = make_notes(step=[0, 12, 24, 36], duration=[6, 8, 24, 4000], time_base=BEATS)
    _, bars = bars_of(tmp_path, notes)
    got = {label: count for label, count in zip(bars["step"].labels, bars["step"].totals, strict=True) if count}
    assert got == {"0 beat": 1, "1/2 beat – 2/3 beat": 1, "1 beat – 3/2 beats": 1, "3/2 beats – 2 beats": 1}
    assert bars["duration"].totals[-1] == 1


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize("highest", [0, 1, 2, 4, 5, 9, 10, 99, 100, 1999, 2**31 - 1])
def test_every_note_is_in_one_bin_and_splits_stay_apart(tmp_path, highest, coarse):
    train = make_notes(step=[0, highest], duration=[highest, 3])
    info, bars = bars_of(tmp_path, train, make_notes(step=[0, 7, 8]), coarse=coarse)
    for name in ("pitch", "velocity", "step", "duration"):
        assert {split: sum(bars[name].counts[split]) for split in SPLITS} == {"train": 2, "validation": 0, "test": 3}
        assert len(bars[name].labels) == len(set(bars[name].labels)) == len(bars[name].totals)
        assert bars[name].totals[-1] > 0 or name == "velocity"


def test_programs_by_notes_and_the_rest_together(tmp_path):
    notes = make_notes(step=[0, *[1] * 7], program=[128, 128, 128, 0, 0, 40, 41, 41])
    info, _ = bars_of(tmp_path, notes)
    bars = note_histograms.of_programs(info, 2)
    assert bars.labels == ["Drums", "0 Acoustic Grand Piano", "2 more programs"]
    assert bars.totals == [3, 2, 3]
    assert note_histograms.of_programs(info).labels[2:] == ["41 Viola", "40 Violin"]


def test_lengths_of_pieces():
    bars = note_histograms.of_lengths({"train": [1, 8, 9], "test": [150]})
    got = {label: column for label, *column in zip(bars.labels, bars.counts["train"], bars.counts["test"], strict=True)}
    assert got["1"] == [1, 0] and got["7 to 9"] == [2, 0] and got["150 to 199"] == [0, 1]
    assert (2, "3") not in bars.ticks and (0, "1") in bars.ticks


def test_a_dataset_without_histograms_has_no_bars(tmp_path):
    info, _ = bars_of(tmp_path, make_notes(step=[0]))
    empty = {split: {name: Histogram() for name in info.histograms[split]} for split in SPLITS}
    object.__setattr__(info, "histograms", empty)
    assert note_histograms.of_dataset(info, coarse=True) == []
    assert note_histograms.of_programs(info).totals == [0]


@pytest.mark.parametrize(
    ("num_rare", "last"), [(1, ["50 s – 100 s", "100 s – 200 s"]), (2, ["50 s – 100 s", "100 s or more"])]
)
def test_the_rarest_times_share_a_bin(tmp_path, num_rare, last):
    step = np.concatenate([np.full(4000, 60_000), 150_000 * 10 ** np.arange(num_rare)])
    _, bars = bars_of(tmp_path, make_notes(step=[0, *step]), coarse=True)
    assert bars["step"].labels[-2:] == last
    assert bars["step"].totals[-2:] == [4000, num_rare]
    assert sum(bars["step"].totals) == 4001 + num_rare
