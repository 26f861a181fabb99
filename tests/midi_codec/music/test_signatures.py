import pytest

from midi_codec.music.signatures import MAX_CHANGES, KeySignature, Signatures, TimeSignature


@pytest.mark.parametrize("is_minor", [0, 1])
@pytest.mark.parametrize("sharps", range(-7, 8))
def test_every_key_reads_back_from_its_name(sharps, is_minor):
    key = KeySignature(5, sharps, is_minor)
    assert Signatures.parse(keys=f"{key}@5").keys == (key,)


def test_names_of_keys():
    names = [str(KeySignature(0, sharps, is_minor)) for is_minor in (0, 1) for sharps in (-7, -2, 0, 3, 7)]
    assert names == ["Cb major", "Bb major", "C major", "A major", "C# major"] + [
        "Ab minor", "G minor", "A minor", "F# minor", "A# minor"
    ]  # fmt: skip


def test_text_is_the_inverse_of_parsing():
    signatures = Signatures.parse("4/4@-48, 3/4@720", "Bb major, D minor@96")
    assert signatures.times == (TimeSignature(-48, 4, 4), TimeSignature(720, 3, 4))
    assert (signatures.times_text, signatures.keys_text) == ("4/4@-48, 3/4@720", "Bb major@0, D minor@96")


@pytest.mark.parametrize(
    "times, keys, problem",
    [
        ("4/5", "", "'4/5', want time signatures such as '4/4' or '4/4@0, 3/4@384', by tick"),
        ("65/4", "", "'65/4', want"),
        ("3/4@5, 4/4@5", "", "by tick"),
        ("3/4 4/4", "", "'3/4 4/4', want"),
        ("", "H major", "'H major', want keys such as 'D minor' or 'D minor@0, F major@384', by tick"),
        ("", "G# major", "'G# major', want"),
    ],
)
def test_other_text_is_refused(times, keys, problem):
    with pytest.raises(ValueError) as error:
        Signatures.parse(times, keys)
    assert problem in str(error.value)


def test_events_that_tracks_repeat_count_once():
    times = [TimeSignature(0, 4, 4), TimeSignature(0, 4, 4), TimeSignature(96, 4, 4), TimeSignature(192, 3, 4)]
    keys = [KeySignature(0, 0, 0), KeySignature(0, 2, 0), KeySignature(0, 2, 0)]  # one part transposes
    merged = Signatures.from_events(times[::-1], keys)
    assert (merged.times_text, merged.keys_text) == ("4/4@0, 3/4@192", "D major@0")


def test_events_that_nobody_can_read_do_not_count():
    times = [TimeSignature(0, 0, 4), TimeSignature(0, 4, 0), TimeSignature(0, 4, 128), TimeSignature(0, 3, 8)]
    keys = [KeySignature(0, 9, 0), KeySignature(0, 0, 5)]
    assert Signatures.from_events(times, keys) == Signatures((TimeSignature(0, 3, 8),))


def test_a_piece_with_too_many_changes_has_none():
    times = [TimeSignature(tick, 3 + tick % 2, 4) for tick in range(MAX_CHANGES + 1)]
    assert len(Signatures.from_events(times[:-1], []).times) == MAX_CHANGES
    assert Signatures.from_events(times, [KeySignature(0, 1, 0)]) == Signatures((), (KeySignature(0, 1, 0),))


@pytest.mark.parametrize(
    "tick, times, keys",
    [
        (0, "1/4@0, 4/4@24, 3/4@984", "C major@0, G major@600"),
        (24, "4/4@0, 3/4@960", "C major@0, G major@576"),
        (30, "4/4@-6, 3/4@954", "C major@0, G major@570"),
        (24 + 96 * 3 + 95, "4/4@-95, 3/4@577", "C major@0, G major@193"),
        (1000, "3/4@-16", "G major@0"),
        (984 + 72 * 5, "3/4@0", "G major@0"),
    ],
)
def test_counting_from_a_note_keeps_the_bar_lines(tick, times, keys):
    whole = Signatures.parse("1/4@0, 4/4@24, 3/4@984", "C major@0, G major@600")
    assert whole.counted_from(tick, 24) == Signatures.parse(times, keys)


def test_counting_on_the_grid_of_milliseconds_rounds_bar_lines():
    bar = 4 * 60_000 / 90  # 2666.67 ms
    assert Signatures.parse("4/4").counted_from(6000, bar / 4).times_text == "4/4@-667"


def test_changes_after_a_tick_are_left_out():
    assert Signatures.parse("4/4@-24, 3/4@72, 2/4@73", "F major@80").until(72) == Signatures.parse("4/4@-24, 3/4@72")


def test_of_changes_that_come_to_one_tick_the_last_is_kept():
    assert Signatures.parse("4/4@0, 3/4@1, 2/4@9", "C major@4").map_ticks([0, 0, 1, 2]).times_text == "3/4@0, 2/4@1"
