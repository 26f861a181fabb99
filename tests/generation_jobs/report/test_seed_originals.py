"""Where primers are from: openings and excerpts, near misses, and which match counts."""

import numpy as np
import pytest

from generation_jobs.output import generated_music
from generation_jobs.report import seed_originals
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.generation_jobs.report.conftest import continued
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes

WHOLE = make_notes(60, rng_seed=3)


def changed(notes: Notes, name: str, index: int, by: int) -> Notes:
    columns = {each: getattr(notes, each).copy() for each in ("pitch", "velocity", "start", "duration", "program")}
    columns[name][index] += by
    return Notes.from_columns(**columns, tempo=notes.tempo, time_base=notes.time_base)


def found(root, pieces, splits, *, num_given=8, time_base=MILLISECONDS):
    info = make_dataset(root / "data", splits, time_base=time_base)
    make_music(root / "music", pieces, num_primer_notes=num_given)
    read = generated_music.read(str(root / "music"), time_base=time_base)
    return seed_originals.find(read, str(root / "data"), info)


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_an_opening(tmp_path, time_base):
    whole = make_notes(60, rng_seed=3, time_base=time_base)
    pieces = [("a", 0, continued(whole.take(slice(20)))), ("a", 1, continued(whole.take(slice(25))))]
    originals = found(tmp_path, pieces, {"train": [make_notes(60), whole]}, time_base=time_base)
    (original,) = originals.values()
    assert (original.seed_id, original.source, original.split) == ("a", f"{whole.piece_id}.mid", "train")
    assert (original.at_note, original.num_given) == (0, 8)
    assert original.notes.piece_id == whole.take(slice(25)).piece_id  # as long as the longest sample


def test_an_excerpt_from_the_middle(tmp_path):
    at = int(np.flatnonzero(WHOLE.step[20:])[0]) + 20  # the first note of a moment
    excerpt = WHOLE.take(slice(at, at + 20)).from_first_onset()
    (original,) = found(tmp_path, [("a", 0, continued(excerpt))], {"test": [WHOLE]}).values()
    assert original.at_note == at
    assert original.notes.piece_id == excerpt.piece_id


@pytest.mark.parametrize(
    "name, index, by", [("pitch", 0, 1), ("velocity", 0, 1), ("velocity", 7, 1), ("start", slice(5, None), 1)]
)
def test_one_other_value_is_no_match(tmp_path, name, index, by):
    assert found(tmp_path, [("a", 0, WHOLE)], {"train": [changed(WHOLE, name, index, by)]}) == {}


def test_held_out_pieces_come_first_and_each_seed_has_its_own(tmp_path):
    other = make_notes(60, rng_seed=4)
    splits = {"train": [WHOLE], "validation": [continued(WHOLE), continued(other)]}
    originals = found(tmp_path, [("a", 0, WHOLE), ("b", 0, other), ("c", 0, make_notes(60, rng_seed=5))], splits)
    assert {seed_id: original.split for seed_id, original in originals.items()} == dict.fromkeys("ab", "validation")
    assert originals["b"].notes.piece_id == continued(other).piece_id


@pytest.mark.parametrize("num_given, num_found", [(0, 0), (3, 0), (4, 1)])
def test_a_primer_of_three_notes_could_be_from_anywhere(tmp_path, num_given, num_found):
    assert len(found(tmp_path, [("a", 0, WHOLE)], {"train": [WHOLE]}, num_given=num_given)) == num_found


def test_a_dataset_of_short_pieces_and_a_search_that_ends(tmp_path, monkeypatch):
    assert found(tmp_path / "short", [("a", 0, WHOLE)], {"train": [WHOLE.take(slice(n)) for n in (1, 3, 5)]}) == {}
    monkeypatch.setattr(seed_originals, "MAX_NOTES_SEARCHED", 50)
    assert found(tmp_path / "end", [("a", 0, WHOLE)], {"validation": [make_notes(60)], "train": [WHOLE]}) == {}


def test_a_damaged_shard(tmp_path):
    found(tmp_path, [("a", 0, WHOLE)], {"test": [WHOLE]})
    shard = next((tmp_path / "data").glob("test-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    info = dataset_info.load(str(tmp_path / "data"))
    pieces = generated_music.read(str(tmp_path / "music"), time_base=MILLISECONDS)
    with pytest.raises(UserError, match="cannot be read"):
        seed_originals.find(pieces, str(tmp_path / "data"), info)
