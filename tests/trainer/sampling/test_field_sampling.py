import dataclasses

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from midi_codec.fields import CATEGORY, MAX_TICK, MIXTURE, MSE, TIME, FieldSpec
from trainer.model import heads, mixture
from trainer.sampling import field_sampling
from trainer.sampling.field_sampling import RowSettings

DRAWS = 20_000
PROBABILITIES = np.array([0.05, 0.3, 0.02, 0.25, 0.18, 0.2])
PITCH = FieldSpec(name="pitch", kind=CATEGORY, values=tuple(range(60, 66)))
STEP = FieldSpec(name="step", kind=TIME, edges=(0, 1, 5, 31, 500, MAX_TICK + 1), largest=30, scale=8.0)
EVERYTHING = MAX_TICK
SHIFT = 5.0


def settings(*, temperature=1.0, top_k=EVERYTHING, top_p=1.0, rows=DRAWS) -> RowSettings:
    return RowSettings(
        tf.fill([rows], np.float32(temperature)), tf.fill([rows], top_k), tf.fill([rows], np.float32(top_p))
    )


def make_logits(rows=DRAWS) -> tf.Tensor:
    logits = np.full(16, -1e9, np.float32)
    logits[:6] = np.log(PROBABILITIES) + 3
    return tf.tile(tf.constant(logits)[None], [rows, 1])


def uniforms(seed=0, rows=DRAWS) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).random(rows) * (1 - 2e-7) + 1e-7, tf.float32)


def by_definition(temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The probabilities that the settings leave, column by column, plainly."""
    shares = PROBABILITIES ** (1 / temperature)
    shares = shares / shares.sum()
    kept, mass = np.zeros(len(shares)), 0.0
    for rank, column in enumerate(sorted(range(len(shares)), key=lambda column: -shares[column])):
        if rank < top_k and mass < top_p:
            kept[column] = shares[column]
        mass += shares[column]
    return kept / kept.sum()


@pytest.mark.parametrize(
    "temperature, top_k, top_p, num_kept",
    [
        (1.0, EVERYTHING, 1.0, 6),
        (0.5, EVERYTHING, 1.0, 6),
        (1.0, 1, 1.0, 1),
        (1.0, 3, 1.0, 3),
        (1.0, EVERYTHING, 0.74, 3),
        (1.0, EVERYTHING, 0.76, 4),
        (1.0, EVERYTHING, 0.25, 1),  # the first already crosses: exactly one stays
        (2.0, 4, 0.9, 4),
    ],
)
def test_draws_follow_the_distribution_that_the_settings_leave(temperature, top_k, top_p, num_kept):
    want = by_definition(temperature, top_k, top_p)
    assert (want > 0).sum() == num_kept
    drawn = field_sampling.draw_bin(
        make_logits(), uniforms(), settings(temperature=temperature, top_k=top_k, top_p=top_p)
    )
    counts = np.bincount(drawn.numpy(), minlength=6)
    assert len(counts) == 6 and (counts[want == 0] == 0).all()
    if num_kept > 1:
        assert scipy.stats.chisquare(counts[want > 0], DRAWS * want[want > 0]).pvalue > 1e-4


@pytest.mark.parametrize(
    "temperature, min_p, num_kept",
    [(1.0, 0.0, 6), (1.0, 0.1, 5), (1.0, 0.65, 3), (0.5, 0.4, 3), (3.0, 0.65, 4), (1.0, 1.0, 1)],
)
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(temperature, min_p, num_kept):
    shares = PROBABILITIES ** (1 / temperature)
    kept = shares >= min_p * shares.max()
    assert kept.sum() == num_kept
    own = dataclasses.replace(settings(temperature=temperature), min_p=tf.fill([DRAWS], np.float32(min_p)))
    counts = np.bincount(field_sampling.draw_bin(make_logits(), uniforms(), own).numpy(), minlength=6)
    assert len(counts) == 6 and (counts[~kept] == 0).all()
    if num_kept > 1:
        assert scipy.stats.chisquare(counts[kept], DRAWS * shares[kept] / shares[kept].sum()).pvalue > 1e-4


def test_temperature_zero_takes_the_likeliest():
    for changes in ({}, {"top_k": 2}, {"top_p": 0.1}):
        drawn = field_sampling.draw_bin(
            make_logits(rows=100), uniforms(rows=100), settings(temperature=0.0, rows=100, **changes)
        )
        assert set(drawn.numpy().tolist()) == {1}


def test_of_equals_top_k_keeps_the_first():
    drawn = field_sampling.draw_bin(tf.zeros([2000, 16]), uniforms(rows=2000), settings(top_k=3, rows=2000))
    assert np.unique(drawn.numpy()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("uniform", [2.0**-24, 1 - 2.0**-24])
def test_no_end_of_the_uniform_leaves_the_columns_that_count(uniform):
    rows = 300
    rng = np.random.default_rng(0)
    logits = np.full((rows, 16), -1e9, np.float32)
    logits[:, 2:9] = rng.normal(0, 3, (rows, 7))
    for changes in ({}, {"top_k": 5}, {"top_p": 0.999}, {"temperature": 0.1}, {"temperature": 50.0}):
        drawn = field_sampling.draw_bin(
            tf.constant(logits), tf.fill([rows], np.float32(uniform)), settings(rows=rows, **changes)
        )
        assert drawn.numpy().min() >= 2 and drawn.numpy().max() < 9


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e6])
def test_extreme_temperatures_draw_a_value(temperature):
    drawn = field_sampling.draw_bin(
        make_logits(rows=500), uniforms(rows=500), settings(temperature=temperature, rows=500)
    )
    values = set(drawn.numpy().tolist())
    assert values == ({1} if temperature < 1 else set(range(6)))


def test_a_row_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(3)
    rows = 12
    logits, uniform = rng.normal(0, 2, (rows, 32)).astype(np.float32), rng.random(rows).astype(np.float32)
    temperature = rng.choice([0.0, 0.7, 1.0], rows).astype(np.float32)
    top_k, top_p = (
        rng.choice([2, 5, EVERYTHING], rows).astype(np.int32),
        rng.choice([0.4, 1.0], rows).astype(np.float32),
    )

    def draw(index):
        chosen = RowSettings(*(tf.constant(column[index]) for column in (temperature, top_k, top_p)))
        return field_sampling.draw_bin(tf.constant(logits[index]), tf.constant(uniform[index]), chosen).numpy()

    whole = draw(np.arange(rows))
    order = rng.permutation(rows)
    assert (draw(order) == whole[order]).all()
    for row in range(rows):
        assert draw(np.array([row])) == whole[row]


def sorted_likeliest(weights: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """What top_k and top_p leave of one row, by sorting; of equal weights the first come first."""
    order = np.argsort(-weights, kind="stable")
    ahead = np.concatenate([[0.0], np.cumsum(weights[order].astype(np.float64))[:-1]])
    kept = (np.arange(len(weights)) < top_k) & ((ahead < top_p * weights.sum(dtype=np.float64)) | (top_p >= 1))
    is_kept = np.zeros(len(weights), bool)
    is_kept[order[kept]] = True
    return is_kept


def test_the_likeliest_are_those_that_sorting_finds():
    rng = np.random.default_rng(5)
    weights = rng.integers(0, 12, (400, 48)).astype(np.float32) / 16  # many are equal, and sums are exact
    weights[:, 0] = 0.5  # none is empty
    weights[200:] *= rng.random((200, 48)) < 0.2
    weights[200:, 0] = 0.5
    top_k = rng.choice([1, 2, 5, 47, EVERYTHING], 400).astype(np.int32)
    top_p = rng.choice([0.01, 0.25, 0.5, 0.9375, 1.0], 400).astype(np.float32)
    found = field_sampling._likeliest(
        tf.constant(weights), RowSettings(tf.ones([400]), tf.constant(top_k), tf.constant(top_p))
    ).numpy() & (weights > 0)
    for row in range(400):
        want = sorted_likeliest(weights[row], top_k[row], top_p[row]) & (weights[row] > 0)
        assert found[row].tolist() == want.tolist(), (row, top_k[row], top_p[row])
    assert 1 <= found.sum(axis=1).min() < found.sum(axis=1).max() == 47


def test_a_limit_that_nobody_asked_for_may_be_left_out():
    logits, uniform = make_logits(), uniforms()
    full = field_sampling.draw_bin(logits, uniform, settings(top_k=3))
    assert (
        (field_sampling.draw_bin(logits, uniform, RowSettings(tf.ones([DRAWS]), top_k=tf.fill([DRAWS], 3))) == full)
        .numpy()
        .all()
    )
    free = field_sampling.draw_bin(logits, uniform, RowSettings(tf.ones([DRAWS])))
    assert (free == field_sampling.draw_bin(logits, uniform, settings())).numpy().all()


def test_padding_and_bins_beyond_the_corpus_are_never_drawn():
    assert (field_sampling.drawable_mask(STEP) == 0).tolist() == [True] * 3 + [False] * 13
    assert (field_sampling.drawable_mask(PITCH) == 0).tolist() == [True] * 6 + [False] * 10


def test_within_a_bin_all_values_are_alike_likely():
    bins = tf.fill([DRAWS], 2)
    values = field_sampling.draw_within_bin(STEP, bins, uniforms()).numpy()
    counts = np.bincount(values, minlength=31)
    assert (counts[:5] == 0).all() and len(counts) == 31
    assert scipy.stats.chisquare(counts[5:]).pvalue > 1e-4
    ends = field_sampling.draw_within_bin(
        STEP, tf.constant([0, 1, 1, 4]), tf.constant([0.9, 2.0**-24, 1 - 2.0**-24, 0.999])
    )
    assert ends.numpy()[:3].tolist() == [0, 1, 4] and 500 <= ends.numpy()[3] <= MAX_TICK
    assert field_sampling.draw_within_bin(PITCH, tf.constant([0, 5]), tf.constant([0.1, 0.9])).numpy().tolist() == [
        60,
        65,
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_ticks_of_an_mse_head_follow_its_gaussian(temperature):
    field = FieldSpec(name="step", kind=TIME, edges=(0, 100, MAX_TICK + 1), largest=60, loss=MSE)
    ticks = field_sampling.draw_ticks(
        field, tf.fill([DRAWS], 3.2), 2.5, uniforms(), settings(temperature=temperature)
    ).numpy()
    assert ticks.min() == 0
    normal = scipy.stats.norm(3.2, 2.5 * temperature)
    edges = np.arange(0, 9) + 0.5
    want = np.diff(np.concatenate([[0], normal.cdf(edges), [1]]))
    counts = np.append(np.bincount(ticks, minlength=9)[:9], (ticks >= 9).sum())
    assert scipy.stats.chisquare(counts, DRAWS * want).pvalue > 1e-4


def test_ticks_of_an_mse_head_at_temperature_zero_and_at_the_ends():
    field = FieldSpec(name="step", kind=TIME, edges=(0, 100, MAX_TICK + 1), largest=60, loss=MSE)
    mean = tf.constant([3.2, 3.5, 0.0, 59.9, 1e12])
    greedy = field_sampling.draw_ticks(field, mean, 2.5, uniforms(rows=5), settings(temperature=0.0, rows=5))
    assert greedy.numpy().tolist() == [3, 4, 0, 60, 60]  # nothing beyond the largest of the corpus
    ends = tf.constant([2.0**-24, 1 - 2.0**-24])
    far = field_sampling.draw_ticks(field, tf.constant([20.0, 20.0]), 1e9, ends, settings(rows=2))
    assert far.numpy().tolist() == [0, 60]


MIXED = FieldSpec(name="step", kind=TIME, edges=(0, 10, 41, MAX_TICK + 1), largest=40, loss=MIXTURE, shift=SHIFT)


def mixture_output(rows: int = 1) -> np.ndarray:
    """Three components: one below tick 0, one narrow, one whose upper half lies beyond the largest tick."""
    output = np.zeros((rows, mixture.WIDTH), np.float32)
    output[:, : mixture.COMPONENTS] = -30.0
    output[:, :3] = np.log([0.2, 0.3, 0.5])
    output[:, mixture.COMPONENTS : mixture.COMPONENTS + 3] = [-0.2, 0.9, np.log1p(40 / SHIFT)]
    output[:, 2 * mixture.COMPONENTS : 2 * mixture.COMPONENTS + 3] = np.log([0.2, 0.02, 0.4])
    return output


def ticks_by_definition(temperature: float) -> np.ndarray:
    """`[41]` probabilities of ticks up to the largest, from logistic distribution functions."""
    logits, locations, log_scales = np.split(mixture_output()[0].astype(np.float64), 3)
    weights = np.exp(logits / temperature)
    borders = np.log1p((np.arange(41) + 0.5) / SHIFT)
    up_to = scipy.special.expit((borders[:, None] - locations) / (np.exp(log_scales) * temperature))
    cumulative = up_to @ (weights / weights.sum())
    shares = np.diff(cumulative, prepend=0.0)
    return shares / shares.sum()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.5])
def test_ticks_of_a_mixture_follow_it_up_to_the_largest(temperature):
    drawn = field_sampling.draw_mixture_ticks(
        MIXED, tf.constant(mixture_output(DRAWS)), (uniforms(1), uniforms(2)), settings(temperature=temperature)
    ).numpy()
    assert drawn.min() == 0 and drawn.max() == 40
    want = ticks_by_definition(temperature) * DRAWS
    counts = np.bincount(drawn, minlength=41)
    often = want >= 5
    assert (~often).sum() < 30
    counts, want = (np.append(column[often], column[~often].sum()) for column in (counts, want))
    keep = want > 0
    assert scipy.stats.chisquare(counts[keep], want[keep]).pvalue > 1e-4
    if temperature == 1.0:  # truncated, not clamped: the largest tick is no likelier than its neighbours
        assert counts[-2] < 2 * counts[-3]


@pytest.mark.parametrize("ends", [(2.0**-24, 2.0**-24), (1 - 2.0**-24, 1 - 2.0**-24), (2.0**-24, 1 - 2.0**-24)])
def test_a_mixture_far_from_the_ticks_that_may_be_drawn(ends):
    rows = np.tile(mixture_output(), (4, 1))
    rows[0, mixture.COMPONENTS : 2 * mixture.COMPONENTS] = 1e6
    rows[1, mixture.COMPONENTS : 2 * mixture.COMPONENTS] = -1e6
    rows[2, 2 * mixture.COMPONENTS :] = mixture.LARGEST_LOG_SCALE
    rows[3, 2 * mixture.COMPONENTS :] = np.log(mixture.SMALLEST_SCALE)
    first, second = (tf.fill([4], np.float32(end)) for end in ends)
    drawn = field_sampling.draw_mixture_ticks(MIXED, tf.constant(rows), (first, second), settings(rows=4)).numpy()
    assert drawn.min() >= 0 and drawn.max() <= 40
    assert drawn[1] == 0 and (drawn[0] == 40 or ends[1] < 0.5)


def test_a_mixture_beyond_the_largest_is_its_tail_below():
    """Far below its location a logistic falls off exponentially: F(u) / F(end) = exp((u - end) / scale)."""
    output = mixture_output(DRAWS)
    output[:, mixture.COMPONENTS : 2 * mixture.COMPONENTS] = 3e5
    output[:, 2 * mixture.COMPONENTS :] = np.log(0.5)
    drawn = field_sampling.draw_mixture_ticks(
        MIXED, tf.constant(output), (uniforms(1), uniforms(2)), settings()
    ).numpy()
    up_to = ((np.arange(41) + 0.5 + SHIFT) / (40.5 + SHIFT)) ** (1 / 0.5)
    want = np.diff(up_to, prepend=0.0) * DRAWS
    assert scipy.stats.chisquare(np.bincount(drawn, minlength=41), want).pvalue > 1e-4


def test_a_mixture_at_temperature_zero_is_the_heads_guess():
    mixed = settings(rows=2)
    temperature = tf.constant([0.0, 1.0])
    output = tf.constant(mixture_output(2))
    drawn = field_sampling.draw_mixture_ticks(
        MIXED, output, (uniforms(rows=2), uniforms(rows=2)), RowSettings(temperature, mixed.top_k, mixed.top_p)
    )
    assert drawn.numpy()[0] == heads.guess(MIXED, output).numpy()[0] == np.rint(SHIFT * np.expm1(0.9))


def test_log_likelihood_is_the_models_own():
    logits = make_logits(rows=2)
    got = field_sampling.log_likelihood(PITCH, logits, tf.constant([1, 2]), tf.constant([61, 62]), 1.0).numpy()
    np.testing.assert_allclose(got, np.log(PROBABILITIES[[1, 2]]), rtol=1e-5)
    times = tf.constant(np.log(np.array([[0.1, 0.2, 0.3, 0.2, 0.2] + [1e-30] * 11], np.float32)))
    got = field_sampling.log_likelihood(STEP, times, tf.constant([2]), tf.constant([7]), 1.0).numpy()
    np.testing.assert_allclose(got, np.log(0.3 / 26), rtol=1e-5)
    continuous = FieldSpec(name="step", kind=TIME, edges=(0, 100, MAX_TICK + 1), largest=60, loss=MSE)
    got = field_sampling.log_likelihood(continuous, tf.constant([3.0]), tf.constant([0]), tf.constant([4]), 2.0).numpy()
    normal = scipy.stats.norm(3, 2)
    np.testing.assert_allclose(got, np.log(normal.cdf(4.5) - normal.cdf(3.5)), rtol=1e-5)
    got = field_sampling.log_likelihood(
        MIXED, tf.constant(mixture_output()), tf.constant([0]), tf.constant([7]), tf.constant(1.0)
    ).numpy()
    logits, locations, log_scales = np.split(mixture_output()[0].astype(np.float64), 3)
    low, high = (
        scipy.special.expit((np.log1p(t / SHIFT) - locations) / np.exp(log_scales)) @ scipy.special.softmax(logits)
        for t in (6.5, 7.5)
    )
    np.testing.assert_allclose(got, np.log(high - low), rtol=1e-5)
