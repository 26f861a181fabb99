"""Styles of the model in the box: which openings a job gets, and that they fit every bundle there is."""

import pytest

from generation_jobs.seeds import primers, styles
from trainer import box_model, bundle


@pytest.fixture
def lists(tmp_path, monkeypatch):
    for name in ("waltz", "march"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"id": "{name}-{index}"}}\n' for index in range(3)))
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.setattr(box_model, "styles_folder", lambda: str(tmp_path))


def chosen(num_pieces, rng_seed=0):
    return [
        (seed.id, seed.num_samples) for seed in styles.read("waltz", num_pieces=num_pieces, rng_seed=rng_seed).seeds
    ]


def test_the_styles_are_the_lists_in_the_folder(lists, tmp_path, monkeypatch):
    assert styles.names() == ["march", "waltz"]
    monkeypatch.setattr(box_model, "styles_folder", lambda: str(tmp_path / "none"))
    assert styles.names() == []


def test_each_piece_gets_an_opening_and_the_openings_about_as_many(lists):
    order = [name for name, _ in chosen(3)]
    assert sorted(order) == ["waltz-0", "waltz-1", "waltz-2"]
    assert chosen(2) == [(order[0], 1), (order[1], 1)]
    assert chosen(7) == [(order[0], 3), (order[1], 2), (order[2], 2)]
    assert len({tuple(chosen(3, rng_seed)) for rng_seed in range(20)}) > 3


def test_another_number_or_order_is_another_list(lists):
    digests = {
        styles.read("waltz", num_pieces=number, rng_seed=seed).digest for number, seed in ((2, 0), (3, 0), (3, 1))
    }
    assert len(digests) == 3
    again = styles.read("waltz", num_pieces=2, rng_seed=0)
    assert again.digest in digests and again.problems == []


@pytest.mark.parametrize("style", styles.names())
def test_those_in_the_box_fit_its_bundles(style):
    for grid in box_model.grids():
        table = bundle.load(box_model.folder(grid)).fields
        listed = styles.read(style, num_pieces=1000, rng_seed=0)
        read, problems = primers.load(listed.seeds, folder=listed.folder, table=table)
        assert problems == [] and sum(seed.num_samples for seed in listed.seeds) == 1000
        assert all(1 <= len(read[index]) <= 16 for index in range(len(read)))
