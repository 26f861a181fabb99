from trainer.doubts import doubts

BIGRAM = {"nll": 5.0, "by_field": {"step": 1.0, "pitch": 3.0, "duration": 1.0}}

MORE_TIME = (
    "The last validation was the best one: most likely it needs more time"
    " (--max-minutes, --epochs, and another --output)."
)


def metrics(step: float, pitch: float, duration: float) -> dict:
    by_field = {"step": step, "pitch": pitch, "duration": duration}
    return {
        "validation_nll": sum(by_field.values()),
        "validation_nll_by_field": by_field,
        "baselines": {"bigram": BIGRAM, "unigram": {}, "5-gram": {"nll": 5.5, "by_field": {}}},
    }


def test_a_model_that_beats_the_bigram_everywhere_gives_none():
    assert not list(doubts(metrics(0.9, 2.9, 1.005), is_still_improving=True))


def test_a_model_that_is_no_better_as_a_whole():
    assert list(doubts(metrics(1.0, 2.0, 2.0), is_still_improving=True)) == [
        "The model is no better than a bigram (5.00 nats per note, bigram 5.00): its music will be noise.",
        MORE_TIME,
    ]


def test_a_model_that_is_worse_in_some_fields():
    assert list(doubts(metrics(1.25, 2.0, 1.5), is_still_improving=False)) == [
        "The model is worse than a bigram at step (1.25, bigram 1.00), duration (1.50, bigram 1.00).",
        "It stopped improving: most likely it needs more pieces, or the other grid (--time-base of the encode).",
    ]
    assert list(doubts(metrics(0.5, 3.5, 0.5), is_still_improving=False)) == [
        "The model is worse than a bigram at pitch (3.50, bigram 3.00).",
        "It stopped improving: most likely it needs more pieces.",
    ]


def test_a_model_that_beats_the_bigram_but_not_the_5_gram():
    above = metrics(0.9, 2.9, 1.005) | {"baselines": {"bigram": BIGRAM, "5-gram": {"nll": 4.7, "by_field": {}}}}
    assert list(doubts(above, is_still_improving=True)) == [
        "The model is no better than a 5-gram with Kneser-Ney smoothing (4.80 nats per note, 5-gram 4.70).",
        MORE_TIME,
    ]


def test_without_a_bigram_or_the_runs_figures_less_is_said():
    alone = metrics(9.0, 9.0, 9.0) | {"baselines": {}}
    assert not list(doubts(alone, is_still_improving=True))
    assert len(list(doubts(metrics(9.0, 9.0, 9.0), is_still_improving=None))) == 1
