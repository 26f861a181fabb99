import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.tiny import make_table
from trainer.evaluation.measures import measure_names, rank


def test_rank_counts_likelier_bins_and_equal_ones_before():
    logits = tf.constant([[3.0, 1.0, 2.0, 1.0]] * 4)
    assert rank(logits, tf.constant([0, 1, 2, 3])).numpy().tolist() == [0, 2, 1, 3]
    equal = tf.zeros([2, 3, 4])
    assert rank(equal, tf.constant([[0, 1, 2], [3, 0, 0]])).numpy().tolist() == [[0, 1, 2], [3, 0, 0]]


def test_names_follow_the_heads():
    assert measure_names(make_table(timing_loss=CATEGORICAL))[:3] == ["nll_step", "hits_step", "error_step"]
    assert measure_names(make_table(timing_loss=MSE))[:3] == ["nll_step", "square_step", "error_step"]
    assert measure_names(make_table(timing_loss=MIXTURE))[:3] == ["nll_step", "error_step", "nll_pitch"]
    names = measure_names(make_table(timing_loss=MIXTURE), top=(1, 3))
    assert names[2:5] == ["nll_pitch", "top1_pitch", "top3_pitch"]
