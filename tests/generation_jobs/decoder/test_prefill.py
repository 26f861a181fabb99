"""States after primers: those that one note after the other leaves, whoever else is in the batch."""

import collections
import copy
import functools

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder import prefill
from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.network import Network
from generation_jobs.decoder.prefill import Prefill, Start
from generation_jobs.settings.label_weights import NO_CONDITION, Condition, condition
from tests.generation_jobs.decoder.cases import labels_of, make_case
from tests.trainer.tiny import make_notes
from trainer.sampling import constraints

ROWS = 16
NOTES_PER_CALL = 8
LENGTHS = (1, 2, NOTES_PER_CALL - 1, NOTES_PER_CALL, NOTES_PER_CALL + 1, 2 * NOTES_PER_CALL + 5)


@pytest.fixture(scope="module", autouse=True)
def short_calls():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "NOTES_PER_CALL", NOTES_PER_CALL)
        yield


@functools.cache
def compiled(name: str) -> Prefill:
    if name == "ensemble":
        bundle = make_case("categorical")
        return Prefill(Ensemble([bundle, bundle]), bundle.fields, rows=ROWS)
    bundle = make_case(name)
    return Prefill(Network(bundle), bundle.fields, rows=ROWS)


def make(name: str) -> Prefill:
    """One that has computed nothing yet; its call is compiled once."""
    maker = copy.copy(compiled(name))
    maker._kept = collections.OrderedDict()
    return maker


def primers_of(maker: Prefill, lengths=LENGTHS) -> list[np.ndarray]:
    return [maker._table.raw(make_notes(number, num_notes=length)) for number, length in enumerate(lengths)]


def step_by_step(maker: Prefill, primer: np.ndarray, told: Condition = NO_CONDITION) -> list[np.ndarray]:
    """The state by one step of the network and of the constraints a note."""
    network, table = maker._network, maker._table
    state, drawn = maker.initial_states(1, [told])
    previous = tf.constant(table.start_bins[None])
    for values in primer[:, None]:
        head_inputs, state = network.trunk(previous, network.by_feature(state))
        pitch_scores = network.score_pitches(head_inputs, state, tf.constant(values[:, table.names.index("step")]))
        state = network.by_row(network.remember(state, tf.constant(values), pitch_scores))
        rules = constraints.Constraints(table, {"notes_per_tick": tf.zeros(1)}, drawn)
        previous = tf.constant(table.encode(values))
        drawn = rules.after(tf.constant(values), previous, tf.ones(1, bool), tf.zeros(1, bool))
    return [array.numpy()[0] for array in tf.nest.flatten((state, drawn))]


def assert_equal(one: Start, other: Start) -> None:
    assert one.ticks == other.ticks and (one.previous == other.previous).all()
    for mine, theirs in zip(one.state, other.state, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["deep", "context, mixture", "copying", "context, copying", "echoes", "ensemble"])
def test_the_state_is_that_of_one_step_a_note(name):
    maker = make(name)
    primers = primers_of(maker)
    conditions = [condition(labels_of(number), None) for number in range(len(primers))]
    step = maker._table.names.index("step")
    for primer, told, start in zip(primers, conditions, maker.starts(primers, conditions), strict=True):
        assert start.ticks == primer[1:, step].sum()
        assert start.previous.tolist() == maker._table.encode(primer[-1]).tolist()
        for got, want in zip(start.state, step_by_step(maker, primer, told), strict=True):
            if got.dtype == np.float32:
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
            else:
                np.testing.assert_array_equal(got, want)


def test_a_state_depends_on_its_primer_alone():
    primers = primers_of(make("categorical"), lengths=(5, 10, 3, 9, 18, 11))
    together = make("categorical").starts(primers)
    for primer, start in zip(primers, together, strict=True):
        assert_equal(make("categorical").starts([primer])[0], start)
    for start, again in zip(together, make("categorical").starts(primers[::-1])[::-1], strict=True):
        assert_equal(start, again)


def test_equal_primers_are_computed_once(monkeypatch):
    maker = make("categorical")
    first, second = primers_of(maker, lengths=(5, 7))
    computed: list[int] = []
    compute = maker._compute
    monkeypatch.setattr(
        maker, "_compute", lambda primers, told: computed.extend(map(len, primers)) or compute(primers, told)
    )
    starts = maker.starts([first, second, first.copy(), first])
    assert computed == [5, 7] and starts[0] is starts[2] is starts[3]
    assert maker.starts([second, first]) == [starts[1], starts[0]] and computed == [5, 7]


def test_equal_primers_with_other_labels_have_other_states():
    maker = make("categorical")
    primer, nothing = primers_of(maker, lengths=(5,))[0], np.zeros((0, 5), np.int32)
    bach, mozart = condition({"composer": "Bach"}, None), condition({"composer": "Mozart"}, None)
    starts = maker.starts([primer, primer, nothing, nothing], [bach, mozart, bach, NO_CONDITION])
    assert not (starts[0].state[0] == starts[1].state[0]).all() and starts[0].ticks == starts[1].ticks
    assert starts[2].previous.tolist() == maker._table.start_bins.tolist() and starts[2].ticks == 0
    rows = make_case("categorical").weights["label_composer"]
    for start, row in ((starts[2], 1), (starts[3], 0)):
        labels = start.state[2 * 2]  # after h and c of two layers
        kernel = make_case("categorical").weights["lstm_0/lstm_cell/kernel"]
        np.testing.assert_allclose(labels, (rows[row] - rows[0]) @ kernel, rtol=1e-5, atol=1e-6)
    between = condition({"composer": {"Bach": 3, "Mozart": 1}}, None)
    (middle,) = maker.starts([nothing], [between])
    want = 0.75 * starts[2].state[4] + 0.25 * maker.starts([nothing], [mozart])[0].state[4]
    np.testing.assert_allclose(middle.state[4], want, rtol=1e-5, atol=1e-6)


def test_more_primers_than_rows_and_more_than_are_kept(monkeypatch):
    monkeypatch.setattr(prefill, "MAX_KEPT", 4)
    maker = make("categorical")
    primers = primers_of(maker, lengths=range(1, ROWS + 8))
    starts = maker.starts(primers)
    assert len(starts) == len(primers) and len(maker._kept) == 4
    assert_equal(maker.starts([primers[0]])[0], starts[0])  # forgotten, and the same again


def test_without_a_primer_a_piece_begins_from_nothing():
    maker = make("context, mixture")
    (start,) = maker.starts([np.zeros((0, 4), np.int32)])
    assert start.ticks == 0 and start.previous.tolist() == maker._table.start_bins.tolist()
    for got, want in zip(start.state, tf.nest.flatten(maker.initial_states(1)), strict=True):
        np.testing.assert_array_equal(got, want.numpy()[0])
