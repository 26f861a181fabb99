import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from midi_codec.fields import CATEGORY, MAX_TICK, MSE, TIME, FieldSpec
from trainer import sampling
from trainer.sampling import RowSettings

DRAWS = 20_000
PROBABILITIES = np.array([0.05, 0.3, 0.02, 0.25, 0.18, 0.2])
PITCH = FieldSpec(name="pitch", kind=CATEGORY, values=tuple(range(60, 66)))
STEP = FieldSpec(name="step", kind=TIME, edges=(0, 1, 5, 31, 500, MAX_TICK + 1), largest=30, scale=8.0)
EVERYTHING = MAX_TICK


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
        (3.0, EVERYTHING, 1.0, 6),
        (1.0, 1, 1.0, 1),
        (1.0, 3, 1.0, 3),
        (1.0, EVERYTHING, 0.74, 3),
        (1.0, EVERYTHING, 0.76, 4),
        (0.5, EVERYTHING, 0.5, 2),
        (1.0, EVERYTHING, 0.25, 1),  # the first already crosses: exactly one stays
        (2.0, 4, 0.9, 4),
    ],
)
def test_draws_follow_the_distribution_that_the_settings_leave(temperature, top_k, top_p, num_kept):
    want = by_definition(temperature, top_k, top_p)
    assert (want > 0).sum() == num_kept
    drawn = sampling.draw_bin(make_logits(), uniforms(), settings(temperature=temperature, top_k=top_k, top_p=top_p))
    counts = np.bincount(drawn.numpy(), minlength=6)
    assert len(counts) == 6 and (counts[want == 0] == 0).all()
    if num_kept > 1:
        assert scipy.stats.chisquare(counts[want > 0], DRAWS * want[want > 0]).pvalue > 1e-4


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.5])
def test_one_value_always_stays(top_p):
    drawn = sampling.draw_bin(make_logits(rows=100), uniforms(rows=100), settings(top_p=top_p, top_k=1, rows=100))
    assert set(drawn.numpy().tolist()) == {1}


def test_temperature_zero_takes_the_likeliest():
    for changes in ({}, {"top_k": 2}, {"top_p": 0.1}):
        drawn = sampling.draw_bin(
            make_logits(rows=100), uniforms(rows=100), settings(temperature=0.0, rows=100, **changes)
        )
        assert set(drawn.numpy().tolist()) == {1}


def test_of_equals_top_k_keeps_the_first():
    drawn = sampling.draw_bin(tf.zeros([2000, 16]), uniforms(rows=2000), settings(top_k=3, rows=2000))
    assert np.unique(drawn.numpy()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("uniform", [2.0**-24, 1 - 2.0**-24])
def test_no_end_of_the_uniform_leaves_the_columns_that_count(uniform):
    rows = 300
    rng = np.random.default_rng(0)
    logits = np.full((rows, 16), -1e9, np.float32)
    logits[:, 2:9] = rng.normal(0, 3, (rows, 7))
    for changes in ({}, {"top_k": 5}, {"top_p": 0.999}, {"temperature": 0.1}, {"temperature": 50.0}):
        drawn = sampling.draw_bin(
            tf.constant(logits), tf.fill([rows], np.float32(uniform)), settings(rows=rows, **changes)
        )
        assert drawn.numpy().min() >= 2 and drawn.numpy().max() < 9


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e6])
def test_extreme_temperatures_draw_a_value(temperature):
    drawn = sampling.draw_bin(make_logits(rows=500), uniforms(rows=500), settings(temperature=temperature, rows=500))
    values = set(drawn.numpy().tolist())
    assert values == ({1} if temperature < 1 else set(range(6)))


def test_a_row_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(3)
    rows = 32
    logits, uniform = rng.normal(0, 2, (rows, 32)).astype(np.float32), rng.random(rows).astype(np.float32)
    temperature = rng.choice([0.0, 0.7, 1.0], rows).astype(np.float32)
    top_k, top_p = (
        rng.choice([2, 5, EVERYTHING], rows).astype(np.int32),
        rng.choice([0.4, 1.0], rows).astype(np.float32),
    )

    def draw(index):
        chosen = RowSettings(*(tf.constant(column[index]) for column in (temperature, top_k, top_p)))
        return sampling.draw_bin(tf.constant(logits[index]), tf.constant(uniform[index]), chosen).numpy()

    whole = draw(np.arange(rows))
    order = rng.permutation(rows)
    assert (draw(order) == whole[order]).all()
    for row in range(rows):
        assert draw(np.array([row])) == whole[row]


def test_padding_and_bins_beyond_the_corpus_are_never_drawn():
    assert (sampling.drawable_mask(STEP) == 0).tolist() == [True] * 3 + [False] * 13
    assert (sampling.drawable_mask(PITCH) == 0).tolist() == [True] * 6 + [False] * 10


def test_within_a_bin_all_values_are_alike_likely():
    bins = tf.fill([DRAWS], 2)
    values = sampling.draw_within_bin(STEP, bins, uniforms()).numpy()
    counts = np.bincount(values, minlength=31)
    assert (counts[:5] == 0).all() and len(counts) == 31
    assert scipy.stats.chisquare(counts[5:]).pvalue > 1e-4
    ends = sampling.draw_within_bin(STEP, tf.constant([0, 1, 1, 4]), tf.constant([0.9, 2.0**-24, 1 - 2.0**-24, 0.999]))
    assert ends.numpy()[:3].tolist() == [0, 1, 4] and 500 <= ends.numpy()[3] <= MAX_TICK
    assert sampling.draw_within_bin(PITCH, tf.constant([0, 5]), tf.constant([0.1, 0.9])).numpy().tolist() == [60, 65]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_ticks_of_an_mse_head_follow_its_gaussian(temperature):
    field = FieldSpec(name="step", kind=TIME, edges=(0, 100, MAX_TICK + 1), largest=60, loss=MSE)
    ticks = sampling.draw_ticks(
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
    greedy = sampling.draw_ticks(field, mean, 2.5, uniforms(rows=5), settings(temperature=0.0, rows=5))
    assert greedy.numpy().tolist() == [3, 4, 0, 60, 60]  # nothing beyond the largest of the corpus
    ends = tf.constant([2.0**-24, 1 - 2.0**-24])
    far = sampling.draw_ticks(field, tf.constant([20.0, 20.0]), 1e9, ends, settings(rows=2))
    assert far.numpy().tolist() == [0, 60]


def test_log_likelihood_is_the_models_own():
    logits = make_logits(rows=2)
    got = sampling.log_likelihood(PITCH, logits, tf.constant([1, 2]), tf.constant([61, 62]), 1.0).numpy()
    np.testing.assert_allclose(got, np.log(PROBABILITIES[[1, 2]]), rtol=1e-5)
    times = tf.constant(np.log(np.array([[0.1, 0.2, 0.3, 0.2, 0.2] + [1e-30] * 11], np.float32)))
    got = sampling.log_likelihood(STEP, times, tf.constant([2]), tf.constant([7]), 1.0).numpy()
    np.testing.assert_allclose(got, np.log(0.3 / 26), rtol=1e-5)
    continuous = FieldSpec(name="step", kind=TIME, edges=(0, 100, MAX_TICK + 1), largest=60, loss=MSE)
    got = sampling.log_likelihood(continuous, tf.constant([3.0]), tf.constant([0]), tf.constant([4]), 2.0).numpy()
    normal = scipy.stats.norm(3, 2)
    np.testing.assert_allclose(got, np.log(normal.cdf(4.5) - normal.cdf(3.5)), rtol=1e-5)
