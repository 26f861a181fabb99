"""Which pieces stay, and where: exact duplicates, near-duplicates, groups by path, an older dataset."""

import dataclasses

import numpy as np
import pytest

from beam_pipelines.encoding.encode_chunk import PartBuilder
from beam_pipelines.encoding.ledger import Duplicate, Reject
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.planning import plan as plan_lib
from beam_pipelines.planning.near_duplicates import Search
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.plan import Carried, make_plan
from beam_pipelines.settings.splits import SplitRule
from midi_codec.dataset.dataset_info import SPLITS
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS
from tests.beam_pipelines.corpora import make_settings
from tests.beam_pipelines.planning.plans import HALVES, IDS, NOTES, by_hash, numbers_in, old, outcome, part, plan_of


def test_alone_each_piece_is_its_own_group():
    plan = plan_of(part({"a.mid": 0, "b.mid": 1}), part({"c.mid": 2}))
    assert outcome(plan) == {IDS[n]: (by_hash(n), IDS[n]) for n in (0, 1, 2)}
    assert plan.groups == {"groups": 0, "pieces": 0, "largest": 0, "in_several_splits": 0}
    assert (list(plan.rejects()), list(plan.duplicates())) == ([], [])


def test_of_equal_pieces_the_smallest_source_stays_whatever_part_it_lies_in():
    plan = plan_of(part({"b.mid": 0, "c.mid": 1}), part({"a.mid": 0}), part({"d.mid": 0}))
    assert sorted(plan.duplicates()) == [
        Duplicate("b.mid", "exact", IDS[0], "a.mid", by_hash(0)),
        Duplicate("d.mid", "exact", IDS[0], "a.mid", by_hash(0)),
    ]
    entries = np.concatenate(list(plan.entries))
    assert [(e["part"], bool(e["kept"])) for e in entries[entries["piece_id"] == IDS[0].encode()]] == [
        (0, False),
        (1, True),
        (2, False),
    ]
    assert plan.splits[by_hash(0)].num_pieces + plan.splits[by_hash(1)].num_pieces >= 2


def test_near_duplicates_share_the_group_of_the_smallest_id_and_its_split():
    members = [numbers_in("train")[0], numbers_in("validation")[0], numbers_in("train")[1]]
    pairs = [(members[0], members[1]), (members[2], members[1])]
    plan = plan_of(part({f"{n}.mid": n for n in (*members, 30)}), pairs=pairs)
    smallest = min(members, key=lambda n: IDS[n])
    assert outcome(plan) == {
        **{IDS[n]: (by_hash(smallest), IDS[smallest]) for n in members},
        IDS[30]: (by_hash(30), IDS[30]),
    }
    assert plan.groups == {"groups": 1, "pieces": 3, "largest": 3, "in_several_splits": 0}
    assert plan.splits[by_hash(smallest)].num_pieces >= 3


def test_near_duplicates_dropped_leave_the_smallest_source():
    plan = plan_of(part({"b.mid": 1, "a.mid": 2, "c.mid": 3}), pairs=[(1, 2), (1, 3)], near_duplicates="drop")
    assert outcome(plan) == {IDS[2]: (by_hash(2), IDS[2])}
    assert list(plan.duplicates()) == [
        Duplicate("b.mid", "near", IDS[1], "a.mid", by_hash(2)),
        Duplicate("c.mid", "near", IDS[3], "a.mid", by_hash(2)),
    ]
    assert plan.groups["groups"] == 0


def test_near_duplicates_kept_are_not_even_looked_for(monkeypatch):
    monkeypatch.setattr(Search, "__init__", lambda *_: pytest.fail("looked for"))
    plan = make_plan(
        PartHeaders([part({"a.mid": 0, "b.mid": 1})]), make_settings(split_rule=HALVES, near_duplicates="keep"), SPLITS
    )
    assert len(outcome(plan)) == 2


def test_a_path_ties_pieces_too_and_chains_with_near_duplicates():
    regex = {"group_regex": "^(.)/"}
    plan = plan_of(part({"x/1.mid": 1, "x/2.mid": 2, "y/3.mid": 3, "4.mid": 4}, **regex), pairs=[(2, 3)], **regex)
    group = min(IDS[1], IDS[2], IDS[3])
    assert {i: g for i, (_, g) in outcome(plan).items()} == {
        IDS[1]: group,
        IDS[2]: group,
        IDS[3]: group,
        IDS[4]: IDS[4],
    }
    assert len({split for i, (split, _) in outcome(plan).items() if i != IDS[4]}) == 1


def test_the_path_of_an_equal_that_is_dropped_ties_too():
    regex = {"group_regex": "^(.)/"}
    plan = plan_of(part({"a/1.mid": 1, "b/1.mid": 1, "b/2.mid": 2}, **regex), **regex)
    group = min(IDS[1], IDS[2])
    assert {i: g for i, (_, g) in outcome(plan).items()} == {IDS[1]: group, IDS[2]: group}
    line = Duplicate("a/0.mid", "exact", IDS[1], "o.mid", "train")
    before = old({"o.mid": (1, 1, "train")}, **regex)
    later = plan_of(before, part({"a/3.mid": 3}, **regex), carried=Carried(duplicates=[line]), **regex)
    assert outcome(later)[IDS[3]] == ("train", IDS[1])


def test_a_dropped_newcomer_hands_its_ties_on():
    regex = {"group_regex": "^(.)/", "near_duplicates": "drop"}
    for split in ("train", "validation"):
        before = old({"o.mid": (1, 1, split)}, **regex)
        plan = plan_of(before, part({"x/2.mid": 2, "x/3.mid": 3}, **regex), pairs=[(1, 2)], **regex)
        assert outcome(plan) == {IDS[1]: (split, IDS[1]), IDS[3]: (split, IDS[1])}


def test_the_ledger_names_who_stays_in_the_end():
    files = {"a.mid": 1, "b.mid": 2, "c.mid": 2}
    plan = plan_of(part(files), pairs=[(1, 2)], near_duplicates="drop")
    assert sorted(plan.duplicates()) == [
        Duplicate("b.mid", "near", IDS[2], "a.mid", by_hash(1)),
        Duplicate("c.mid", "exact", IDS[2], "a.mid", by_hash(1)),
    ]


def test_equals_of_a_newcomer_that_ties_splits_are_rejected_with_it():
    before = old({"o.mid": (1, 1, "train"), "p.mid": (2, 2, "validation")})
    plan = plan_of(before, part({"a.mid": 3, "b.mid": 3}), pairs=[(3, 1), (3, 2)])
    assert [(line.path, line.reason) for line in plan.rejects()] == [("a.mid", "ties_splits"), ("b.mid", "ties_splits")]
    assert list(plan.duplicates()) == []


def test_many_newcomers_of_one_group():
    """One after the other, each tied to the one before."""
    chain = list(range(3, 40))
    pairs = [(1, 3), *zip(chain[:-1], chain[1:], strict=True)]
    plan = plan_of(old({"o.mid": (1, 1, "train")}), part({f"{n:02d}.mid": n for n in chain}), pairs=pairs)
    assert set(outcome(plan).values()) == {("train", IDS[1])}


def test_a_pair_of_a_piece_that_is_not_there_is_a_fault():
    with pytest.raises(RuntimeError, match="name a piece that no part has"):
        plan_of(part({"a.mid": 0}), pairs=[(0, 1)])


def test_by_regex_paths_decide_the_split_and_leaks_are_counted():
    rule = SplitRule(regex="^(train|valid)/")
    builder = PartBuilder(make_settings(split_rule=rule))
    pieces = NoteBatch.from_notes([NOTES[1], NOTES[2]], MILLISECONDS)
    builder.add_pieces(pieces, ["train/a.mid", "valid/b.mid"])
    plan = plan_of(builder.build()[0], pairs=[(1, 2)], split_rule=rule)
    group = min(IDS[1], IDS[2])
    assert outcome(plan) == {IDS[1]: ("train", group), IDS[2]: ("validation", group)}
    assert plan.groups == {"groups": 1, "pieces": 2, "largest": 2, "in_several_splits": 1}


def test_an_old_piece_outlives_a_newcomer_with_equal_notes():
    plan = plan_of(old({"z.mid": (5, 5, "validation")}), part({"a.mid": 5}))
    assert list(plan.duplicates()) == [Duplicate("a.mid", "exact", IDS[5], "z.mid", "validation")]
    assert outcome(plan) == {IDS[5]: ("validation", IDS[5])}


def test_newcomers_join_the_old_group_they_touch_and_nobody_moves():
    """By hash every one of them might lie elsewhere."""
    split = "train" if by_hash(7) == "validation" else "validation"
    plan = plan_of(old({"o.mid": (7, 6, split)}), part({"a.mid": 8, "b.mid": 9}), pairs=[(8, 9), (9, 7)])
    assert outcome(plan) == {IDS[n]: (split, IDS[6]) for n in (7, 8, 9)}


def test_an_old_piece_that_nobody_touches_keeps_its_group():
    plan = plan_of(old({"o.mid": (7, 6, "train"), "p.mid": (8, 6, "train")}), part({"a.mid": 9}))
    assert outcome(plan) == {**{IDS[n]: ("train", IDS[6]) for n in (7, 8)}, IDS[9]: ("validation", IDS[9])}
    assert plan.groups == {"groups": 1, "pieces": 2, "largest": 2, "in_several_splits": 0}


def test_a_newcomer_that_ties_two_splits_together_is_rejected_and_the_others_are_not():
    before = old({"o.mid": (1, 1, "train"), "p.mid": (2, 2, "validation")})
    plan = plan_of(before, part({"a.mid": 3, "b.mid": 4, "c.mid": 5}), pairs=[(3, 1), (4, 3), (4, 2), (5, 2)])
    assert outcome(plan) == {
        IDS[1]: ("train", IDS[1]),
        IDS[2]: ("validation", IDS[2]),
        IDS[3]: ("train", IDS[1]),
        IDS[5]: ("validation", IDS[2]),
    }
    message = "it is the same music as pieces of the older dataset that are in different splits"
    assert list(plan.rejects()) == [Reject("b.mid", None, "group", "ties_splits", message)]


def test_newcomers_among_themselves_are_grouped_as_ever():
    before = old({"o.mid": (1, 1, "train"), "p.mid": (2, 2, "validation")})
    plan = plan_of(before, part({"a.mid": 3, "b.mid": 4}), pairs=[(3, 4)])
    group = min(IDS[3], IDS[4])
    number = 3 if group == IDS[3] else 4
    assert outcome(plan)[IDS[3]] == outcome(plan)[IDS[4]] == (by_hash(number), group)


def test_dropping_spares_old_pieces():
    before = old({"o.mid": (1, 1, "train"), "p.mid": (2, 2, "train")})
    plan = plan_of(before, part({"a.mid": 3}), pairs=[(1, 2), (2, 3)], near_duplicates="drop")
    assert set(outcome(plan)) == {IDS[1], IDS[2]}
    assert list(plan.duplicates()) == [Duplicate("a.mid", "near", IDS[3], "o.mid", "train")]


def test_the_inputs_of_both_are_accounted_for_in_order():
    newer = dataclasses.replace(part({"a.mid": 0}), contents=np.array([[9, 2], [8, 1 << 63]], ">u8"))
    plan = plan_of(newer, carried=Carried(contents=np.array([[9, 1], [255, 256]], np.uint64)))
    assert plan.contents().tolist() == [[8, 1 << 63], [9, 1], [9, 2], [255, 256]]


def test_the_order_of_parts_decides_nothing():
    parts = [part({"b.mid": 0, "c.mid": 1}), part({"a.mid": 0, "d.mid": 2}), part({"e.mid": 3})]
    pairs = [(1, 2), (2, 3)]
    one, other = plan_of(*parts, pairs=pairs), plan_of(*parts[::-1], pairs=pairs[::-1])
    assert outcome(one) == outcome(other)
    assert sorted(one.duplicates()) == sorted(other.duplicates())
    assert dataclasses.asdict(one.splits["train"]) == dataclasses.asdict(other.splits["train"])


def test_entries_are_by_shard_and_by_place():
    parts = [
        part({f"{n}.mid": n for n in range(20)}, num_shards=3),
        part({f"{n}.mid": n for n in range(20, 40)}, num_shards=3),
    ]
    plan = plan_of(*parts, num_shards=3)
    assert [len(entries) for entries in plan.entries] == np.bincount(
        np.concatenate([p.rows["shard"] for p in parts])
    ).tolist()
    for entries in plan.entries:
        places = list(zip(entries["part"].tolist(), entries["offset"].tolist(), strict=True))
        assert places == sorted(places)
    assert sum(sum(plan.splits[split].shard_lengths) for split in SPLITS) == 40


def of_one_split(split: str, count: int) -> list[int]:
    return numbers_in(split)[:count]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_that_would_be_empty_gets_a_group(split):
    other = {"train": "validation", "validation": "train"}[split]
    numbers = of_one_split(split, 5)
    plan = plan_of(part({f"{n}.mid": n for n in numbers}))
    ((moved, into),) = plan.moved_groups.items()
    assert into == other
    assert outcome(plan) == {IDS[n]: (other if IDS[n] == moved else split, IDS[n]) for n in numbers}
    assert (plan.splits[split].num_pieces, plan.splits[other].num_pieces) == (4, 1)
    backwards = plan_of(*(part({f"z{n}.mid": n}) for n in reversed(numbers)))
    assert (outcome(backwards), backwards.moved_groups) == (outcome(plan), plan.moved_groups)


def test_no_group_moves_where_every_split_has_one():
    plan = plan_of(part({f"{n}.mid": n for n in (*of_one_split("train", 9), *of_one_split("validation", 1))}))
    assert (plan.moved_groups, plan.splits["validation"].num_pieces) == ({}, 1)


def test_a_group_moves_whole_and_a_small_one_first():
    numbers = of_one_split("train", 4)
    plan = plan_of(part({f"{n}.mid": n for n in numbers}), pairs=[tuple(numbers[:2]), tuple(numbers[1:3])])
    assert plan.moved_groups == {IDS[numbers[3]]: "validation"}
    plan = plan_of(part({f"{n}.mid": n for n in numbers}), pairs=[tuple(numbers[:2]), tuple(numbers[2:])])
    assert sorted(split for split, _ in outcome(plan).values()) == ["train", "train", "validation", "validation"]


def test_a_dropped_near_duplicate_goes_where_its_group_moved():
    one, other, third = of_one_split("train", 3)
    files = {"a.mid": one, "b.mid": other, "c.mid": third}
    plan = plan_of(part(files), pairs=[(other, third)], near_duplicates="drop")
    (line,) = plan.duplicates()
    assert (line.path, line.kept) == ("c.mid", "b.mid")
    assert outcome(plan)[IDS[other]][0] == line.split
    assert plan.splits["validation"].num_pieces == plan.splits["train"].num_pieces == 1


def test_too_few_groups_stay_where_they_are():
    one, other = of_one_split("train", 2)
    plan = plan_of(part({"a.mid": one, "b.mid": other}), pairs=[(one, other)])
    assert (plan.moved_groups, plan.num_groups, plan.splits["validation"].num_pieces) == ({}, 1, 0)


def test_what_filled_a_split_stays_there_when_newcomers_come():
    """By hash the old piece would be in train, and the newcomers are in validation by themselves."""
    filler, *rest = of_one_split("train", 3)
    before = old({"o.mid": (filler, filler, "validation"), "p.mid": (rest[0], rest[0], "train")})
    newcomers = {f"{n}.mid": n for n in (*of_one_split("validation", 2), rest[1])}
    carried = Carried(moved_groups={IDS[filler]: "validation"})
    plan = plan_of(before, part(newcomers), pairs=[(rest[1], filler)], carried=carried)
    assert outcome(plan)[IDS[filler]] == outcome(plan)[IDS[rest[1]]] == ("validation", IDS[filler])
    assert plan.moved_groups == {IDS[filler]: "validation"}


def test_newcomers_alone_fill_what_an_older_dataset_left_empty():
    olds = of_one_split("train", 5)
    before = old({f"o{n}.mid": (n, n, "train") for n in olds[:3]})
    nobody = plan_of(before, part({}))
    assert (nobody.moved_groups, nobody.splits["validation"].num_pieces) == ({}, 0)
    plan = plan_of(before, part({f"{n}.mid": n for n in olds[3:]}), pairs=[(olds[3], olds[0])])
    assert plan.moved_groups == {IDS[olds[4]]: "validation"}


def test_paths_of_an_older_datasets_duplicates_tie_to_the_piece_that_was_kept():
    """Two old pieces may have had one name; then it is the one with the smaller id."""
    regex = {"group_regex": "^(.)/"}
    before = old({"o.mid": (1, 1, "train"), "p.mid": (2, 2, "train"), "q.mid": (4, 4, "train")}, **regex)
    again = old({"o.mid": (5, 5, "train")}, **regex)
    lines = [Duplicate(path, "exact", "", kept, "train") for path, kept in (("a/0", "o.mid"), ("b/0", "not here"))]
    newcomers = part({"a/3.mid": 3, "b/6.mid": 6}, **regex)
    carried = Carried(duplicates=lines)
    for parts in ((before, again, newcomers), (newcomers, again, before)):
        groups = {piece: group for piece, (_, group) in outcome(plan_of(*parts, carried=carried, **regex)).items()}
        assert (groups[IDS[3]], groups[IDS[6]]) == (min(IDS[1], IDS[5]), IDS[6])


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_ties_newcomers_whichever_of_them_is_rejected(order):
    """Newcomer 3 is the same music as a piece of another split; 4 and 5 share its path, and nothing else."""
    regex = {"group_regex": "^(.)/"}
    before = old({"a/o.mid": (1, 1, "train"), "p.mid": (2, 2, "validation")}, **regex)
    files = [part({f"a/{number}.mid": number}, **regex) for number in (3, 4, 5)]
    plan = plan_of(*[before, *files][::order], pairs=[(3, 2)], **regex)
    assert plan.decisions.tied_sources == ["a/3.mid"]
    assert {outcome(plan)[IDS[number]] for number in (1, 4, 5)} == {("train", IDS[1])}
    after = plan_of(*[old({"p.mid": (2, 2, "validation")}), *files][::order], pairs=[(3, 2)], **regex)
    assert {outcome(after)[IDS[number]] for number in (2, 3, 4, 5)} == {("validation", IDS[2])}


def test_near_duplicates_are_found_in_the_headers_and_compared_pair_by_pair_only_where_that_matters(monkeypatch):
    """Components and pairs give the same groups."""
    parts = [near_part({f"{n}.mid": n for n in range(0, 40, 2)}), near_part({f"{n}.mid": n for n in range(1, 40, 2)})]
    settings = make_settings(split_rule=HALVES)
    groups = outcome(make_plan(PartHeaders(parts), settings, SPLITS))
    family = [IDS[number] for number in range(0, 40, 4)]
    assert {piece for piece, (_, group) in groups.items() if group != piece} == {*family} - {min(family)}
    assert {groups[piece][1] for piece in family} == {min(family)}
    monkeypatch.setattr(plan_lib, "needs_pairs", lambda *_: True)
    assert outcome(make_plan(PartHeaders(parts[::-1]), settings, SPLITS)) == groups


def near_part(files: dict[str, int]) -> Part:
    """Every fourth piece has one fingerprint, with a few bins of its own; the others have none."""
    whole = part(files)
    numbers = [int(source.removesuffix(".mid")) for source in whole.sources]
    signatures = np.tile(np.arange(1, 129, dtype=np.uint16), (len(numbers), 1))
    for row, number in enumerate(numbers):
        signatures[row, number : number + 20] += 1000 + number
    signatures[np.array(numbers) % 4 != 0] = 0
    return dataclasses.replace(whole, signatures=signatures)
