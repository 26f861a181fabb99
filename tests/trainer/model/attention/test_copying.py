"""What copying adds to the logits, and where a new model starts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.tiny import make_many, make_table
from trainer.data.pieces import stack_pieces
from trainer.model.attention import copying
from trainer.model.attention.copying import Copying
from trainer.model.attention.echoes import Echoes
from trainer.model.attention.matches import MISSING, Matches
from trainer.model.attention.past import Candidates
from trainer.model.attention.sources import Sources
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.training.prior import start_from_unigram
from trainer.training.train_step import Adam

TABLE = make_table()
SIZE = 4
SOURCES = Sources(SIZE)
NUM_CANDIDATES, NUM_MATCHES = SOURCES.num_candidates, SOURCES.num_matches


def candidates(**bins: list[int]) -> Candidates:
    """Of one event: candidate k has these bins, the others have none; the last notes were of pitch bins 0, 1, 2, 1."""
    found = np.full((1, 1, SOURCES.num_earlier, len(TABLE)), MISSING, np.int32)
    for rank, values in bins.items():
        found[0, 0, int(rank[1:])] = values
    past = np.zeros((1, 1 + SIZE, len(TABLE)), np.int32)
    past[0, 1:, 1], past[0, 1:, 2] = (0, 1, 2, 1), (3, 2, 1, 0)
    none = tf.zeros([1, 1, 3], tf.int32)
    matched = Matches(tf.constant(found[:, :, :NUM_MATCHES]), none, none)
    columns = tf.transpose(tf.constant(past), [0, 2, 1])
    return Candidates(tf.constant(found), matched, None, none[..., 0], columns, SOURCES)


@pytest.fixture
def weights() -> copying.Weights:
    """The weight of candidate k where the earlier fields with code c agree is k + c / 100."""
    layer = Copying(TABLE, SOURCES, head_input_units=32)
    for index, weight in enumerate(layer.tensors.by_field):
        weight.assign(np.arange(NUM_CANDIDATES)[:, None] + np.arange(2**index) / 100)
    for weight in layer.tensors.follows:
        weight.assign(tf.zeros(weight.shape))
    return layer.tensors


def logits(weights, index, found, *bins, queries=None) -> list[float]:
    queries = np.zeros((1, 1, NUM_CANDIDATES), np.float32) if queries is None else queries
    known = [tf.constant([[value]]) for value in bins]
    added = copying.added_logits(weights, TABLE, index, found, tf.constant(queries), known)
    assert added.shape == (1, 1, 16)
    return added.numpy()[0, 0, :5].tolist()


def test_a_candidate_adds_to_its_value_and_two_of_one_value_add_up(weights):
    found = candidates(k1=[2, 0, 0, 0], k3=[4, 1, 0, 0], k5=[2, 2, 0, 0])
    assert logits(weights, 0, found) == pytest.approx([0, 0, 6, 0, 3])


def test_the_weight_depends_on_which_earlier_fields_agree(weights):
    found = candidates(k1=[2, 0, 0, 0], k3=[4, 1, 0, 0])
    assert logits(weights, 1, found, 2) == pytest.approx([1.01, 3, 0, 0, 0])
    assert logits(weights, 1, found, 4) == pytest.approx([1, 3.01, 0, 0, 0])


def test_after_the_pitch_the_last_note_of_that_pitch_is_one_more(weights):
    """The last note of pitch bin 1 is the newest, with duration bin 0; of bin 0 the oldest, with 3."""
    found = candidates(k1=[2, 0, 2, 0])
    last = NUM_CANDIDATES - 1
    assert logits(weights, 2, found, 2, 1) == pytest.approx([last + 0.02, 0, 1.01, 0, 0])
    assert logits(weights, 2, found, 0, 0) == pytest.approx([0, 0, 1.02, last + 0.03, 0])


def test_the_lstm_moves_each_weight_by_itself(weights):
    queries = np.zeros((1, 1, NUM_CANDIDATES), np.float32)
    queries[0, 0, 3] = -2.5
    found = candidates(k1=[2, 0, 0, 0], k3=[4, 1, 0, 0])
    assert logits(weights, 1, found, 0, queries=queries) == pytest.approx([1, 0.5, 0, 0, 0])


def test_the_note_before_adds_its_row(weights):
    weights.follows[0].assign(np.arange(6)[:, None] * 100.0 + np.arange(16))
    assert logits(weights, 0, candidates()) == pytest.approx([500, 501, 502, 503, 504])  # no note: the last row
    last = NUM_MATCHES
    with_last = candidates(**{f"k{last}": [3, 0, 0, 0]})
    assert logits(weights, 0, with_last) == pytest.approx([300, 301, 302, 303 + last, 304])


def test_a_new_model_starts_from_pairs_of_values():
    """Without the candidates' weights, its first likelihood is Witten and Bell's bigram."""
    model = NoteModel(ModelConfig(units=16, layers=1, head_units=16, attention="copy", attention_notes=8), TABLE)
    pieces = stack_pieces(make_many([20, 9, 30]), TABLE)
    start_from_unigram(model, pieces)
    raw, is_note = pieces.block().raw, ~pieces.block().is_end
    before = np.append(3, np.where(is_note, np.searchsorted([60, 62, 65], raw[:, 1]), 3)[:-1])
    bins = np.searchsorted([60, 62, 65], raw[:, 1])
    single = np.bincount(bins[is_note], minlength=3) + 1
    single = single / single.sum()
    got = np.asarray(model.output_biases[1].value)[:3] + model.copying.tensors.follows[1].numpy()[:, :3]
    for context in range(4):
        seen = bins[is_note & (before == context)]
        counts = np.bincount(seen, minlength=3)
        followers = np.count_nonzero(counts)
        want = (counts + followers * single) / (counts.sum() + followers)
        assert np.exp(got[context]) == pytest.approx(want, rel=1e-5)


def test_what_matches_and_how_far_the_piece_is_moves_heads_and_queries():
    """Rows by matcher, level and distance, then by age: (0, 2, 1), (1, 0, 0), (2, 5, 9), and age 4."""
    layer = Copying(TABLE, SOURCES, head_input_units=32)
    rows, width = layer.tensors.levels.shape
    assert (rows, width) == (3 * 6 * 10 + 16, 32 + copying.query_units(TABLE, SOURCES))
    layer.tensors.levels.assign(np.arange(rows)[:, None] + np.zeros((1, width)))
    levels, distances = tf.constant([[[2, 0, 5]]]), tf.constant([[[1, 0, 9]]])
    found = candidates()
    matched = found.matches._replace(levels=levels, distances=distances)
    found = found._replace(matches=matched, ages=tf.constant([[4]]))
    want = 21 + 60 + 179 + 184
    for gap in (0, 48):
        seen = copying.level_inputs(layer.tensors, TABLE, found, gap=gap)[0, 0].numpy()
        assert seen.tolist() == [want] * 32 + [0] * gap + [want] * copying.query_units(TABLE, SOURCES)


def test_without_matches_the_heads_see_the_age_and_what_repeats():
    """Rows by age, then by lag and share: age 3, share 5 of the first lag, share 1 of the second."""
    sources = Sources(SIZE, has_matches=False, lags=(2, 4))
    layer = Copying(TABLE, sources, head_input_units=32)
    rows, width = layer.tensors.levels.shape
    assert (rows, width) == (16 + 2 * 6, 32 + copying.query_units(TABLE, sources))
    layer.tensors.levels.assign(np.arange(rows)[:, None] + np.zeros((1, width)))
    bins = tf.fill([1, 1, sources.num_earlier, len(TABLE)], MISSING)
    echoes = Echoes(bins[:, :, -2:], tf.constant([[[5, 1]]]))
    found = Candidates(bins, None, echoes, tf.constant([[3]]), tf.zeros([1, len(TABLE), 1 + SIZE], tf.int32), sources)
    seen = copying.level_inputs(layer.tensors, TABLE, found, gap=0)[0, 0].numpy()
    assert seen.tolist() == [3 + 21 + 23] * width
    half = copying.level_inputs(layer.tensors, TABLE, found._replace(amount=tf.constant([0.5])), gap=0)
    assert half[0, 0].numpy().tolist() == [47 / 2] * width


def test_a_row_that_copies_half_adds_half_its_weights_and_the_whole_pair(weights):
    weights.follows[0].assign(tf.ones(weights.follows[0].shape))
    found = candidates(k1=[2, 0, 0, 0], k3=[4, 1, 0, 0])._replace(amount=tf.constant([0.5]))
    assert logits(weights, 0, found) == pytest.approx([1, 1, 1.5, 1, 2.5])


def test_played_values_also_add_to_the_bins_around_theirs():
    """A weight of 2 on bin 1, and a blur of 10 in the middle, 4 just below, 1 two above."""
    layer = Copying(TABLE, SOURCES._replace(chord=4), head_input_units=32)
    weights = layer.tensors
    assert [None if blur is None else blur.shape[0] for blur in weights.blur] == [17, None, 17, 17]
    taps = np.zeros(17)
    taps[8], taps[9], taps[6] = 10, 4, 1
    weights.blur[0].assign(taps)
    weights.by_field[0].assign(tf.fill(weights.by_field[0].shape, 2.0))
    weights.follows[0].assign(tf.zeros(weights.follows[0].shape))
    assert logits(weights, 0, candidates(k1=[1, 0, 0, 0])) == pytest.approx([8, 20, 0, 2, 0])


def test_what_copies_played_music_learns_ten_times_as_fast_but_what_was_counted():
    layer = Copying(TABLE, SOURCES._replace(chord=4), head_input_units=32)
    slow = {weight.path for weight in layer.weights if not copying.learns_fast(weight.path)}
    assert slow == {f"copying/follows_{name}" for name in TABLE.names}
    assert not copying.learns_fast("head_kernel")
    other = keras.Variable(np.zeros(3, np.float32), name="other")
    adam = Adam(learning_rate=0.01)
    adam.copying_rate = copying.FAST_RATE
    variables = [next(weight for weight in layer.weights if weight.path == "copying/weight_step"), other]
    adam.build(variables)
    adam.apply([tf.ones(variable.shape) for variable in variables], variables)
    np.testing.assert_allclose(variables[0], copying.FIRST_WEIGHT - 0.1, rtol=1e-5)
    np.testing.assert_allclose(other, -0.01, rtol=1e-5)
