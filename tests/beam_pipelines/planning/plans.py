"""Plans of made-up pieces, each decided twice: in one process, and by ranges of ids as on an engine."""

from unittest import mock

import numpy as np

from beam_pipelines.encoding.encode_chunk import PartBuilder
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.planning import digests, keyed
from beam_pipelines.planning import plan as plan_lib
from beam_pipelines.planning.groups import Near, near_of_pairs
from beam_pipelines.planning.keyed import Sourced
from beam_pipelines.planning.near_duplicates import PAIR
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.plan import Carried, Plan, make_plan
from beam_pipelines.planning.shard_entries import describe_splits
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import SplitRule, has_empty, split_of_group
from midi_codec.dataset.dataset_info import SPLITS
from midi_codec.dataset.labels import Counts, LabelCounts
from midi_codec.dataset.records import Piece
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS
from tests.beam_pipelines.corpora import make_notes, make_settings

HALVES = SplitRule(percents=(50, 50, 0))
NOTES = {number: make_notes(number) for number in range(40)}
IDS = {number: notes.piece_id for number, notes in NOTES.items()}


def part(files: dict[str, int], **changes) -> Part:
    """A part of pieces by number, by source."""
    builder = PartBuilder(make_settings(split_rule=HALVES, **changes))
    builder.add_pieces(NoteBatch.from_notes([NOTES[n] for n in files.values()], MILLISECONDS), list(files))
    return builder.build()[0]


def old(files: dict[str, tuple[int, int, str]], **changes) -> Part:
    """Pieces of an older dataset: by source the number, the number whose id names the group, and the split."""
    builder = PartBuilder(make_settings(split_rule=HALVES, **changes))
    for source, (number, group, split) in files.items():
        piece = Piece(IDS[number], IDS[group], source, NOTES[number].from_first_onset())
        builder.add_old_pieces([piece], [b"record"], split)
    return builder.build()[0]


def plan_of(*parts: Part, pairs=(), carried=None, split_rule=HALVES, **changes) -> Plan:
    """With these near-duplicates; decided in one process, and by ranges as on an engine, which gives the same."""
    settings = make_settings(split_rule=split_rule, **changes)

    def find_near(headers, distinct, pieces, settings) -> Near:
        own = pieces.names[pieces.own_name]
        return near_of_pairs(pieces, [keyed.numbers_of_pairs(own, each) for each in packed(pairs)], settings)

    with mock.patch.object(plan_lib, "_find_near", find_near):
        plan = make_plan(PartHeaders(parts), settings, ("train", "validation"), carried=carried)
    check_keyed(parts, packed(pairs), carried or Carried(), settings, plan)
    return plan


def packed(pairs) -> list[np.ndarray]:
    """Pairs of numbers as an engine finds them, in several arrays."""
    named = [digests.pack(np.array(sorted(IDS[number].encode() for number in pair), "S32")) for pair in pairs]
    return [np.array([tuple(pair)], PAIR) for pair in named]


def check_keyed(parts, pairs, carried: Carried, settings: Settings, plan: Plan) -> None:
    """The steps of `execution/beam_decide.py` on three ranges of ids decide what the plan says."""
    heads = Sourced.join([keyed.heads_of(each, f"{number:032x}") for number, each in enumerate(parts)])
    ranges = [heads[range_of(heads.rows["id"]) == number] for number in range(3)]
    ties = np.zeros(0, keyed.TIE)
    if settings.group_regex is not None:
        dropped = list(keyed.dropped_lines(carried.duplicates, settings))
        older = keyed.ties_of_dropped([keyed.old_sources(heads)], dropped)
        ties = keyed.shared_ties(np.concatenate([keyed.own_ties(heads), older]))
    ids = np.concatenate([ties["id"], *(each[name] for each in pairs for name in ("first", "second"))])
    found = [keyed.find_nodes(some, ids[range_of(ids) == number]) for number, some in enumerate(ranges) if len(some)]
    decided = list(keyed.decide_graph([nodes for nodes, _ in found], pairs, [ties], settings))
    in_range = [[some[range_of(some.rows["id"]) == number] for some in decided] for number in range(3)]
    moved: dict[bytes, int] = {}

    def decide() -> list[keyed.Range]:
        some = zip(ranges, in_range, strict=True)
        return [keyed.decide_range(heads, own, moved) for heads, own in some if len(heads)]

    kept = np.concatenate([each.grouped() for each in decide()])
    of_graph = [some.rows["split"][some.rows["is_kept"]] for some in decided]
    sizes = sum([sizes for _, sizes in found], np.bincount(np.concatenate([[], *of_graph]).astype(int), minlength=3))
    assert sizes.tolist() == np.bincount(kept["split"], minlength=3).tolist()
    if (percents := settings.split_rule.percents) is not None and has_empty(sizes, percents):
        moved = keyed.fill([kept], percents)
    results = [each.decisions for each in decide()]
    assert merged_labels(results) == plan.labels
    assert {digests.unpack(np.array([group], digests.DTYPE))[0].decode() for group in moved} == {
        *plan.decisions.moved_groups()
    }
    assert sorted(line for each in results for line in each.duplicates()) == sorted(plan.duplicates())
    assert sorted(source for each in results for source in each.tied_sources) == sorted(plan.decisions.tied_sources)
    assert describe_splits(sum(each.split_sizes(settings.num_shards) for each in results), SPLITS[:2]) == plan.splits
    for shard, entries in enumerate(plan.entries):
        mine = [own for each in decide() for number, own in each.entries(settings.num_shards) if number == shard]
        numbered, names = keyed.number_parts(mine)
        numbered["part"] = np.array([int(name, 16) for name in names], np.int64)[numbered["part"]]
        assert numbered.tolist() == entries.tolist()


def merged_labels(results) -> Counts:
    counts = LabelCounts()
    for each in results:
        counts.add_counts(each.count_labels())
    return counts.counts()


def range_of(ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ids).view(np.uint8).reshape(-1, 16)[:, 0] % 3


def outcome(plan: Plan) -> dict[str, tuple[str, str]]:
    """Split and group of each kept piece, by piece_id."""
    entries = np.concatenate(list(plan.entries))
    kept = entries[entries["kept"]]
    return {e["piece_id"].decode(): (SPLITS[e["split"]], e["group_id"].decode()) for e in kept}


def by_hash(number: int) -> str:
    return split_of_group(IDS[number], (50, 50, 0))


def numbers_in(split: str) -> list[int]:
    return [number for number in IDS if by_hash(number) == split]
