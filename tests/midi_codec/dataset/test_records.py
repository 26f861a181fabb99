import dataclasses
import lzma
import subprocess
import sys

import numpy as np
import pytest

from midi_codec.dataset import records
from midi_codec.dataset.records import Piece
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from midi_codec.music.signatures import Signatures


def make_notes(num_notes: int, *, rng_seed: int = 0, highest_step: int = 400, tempo: float = 97.5) -> Notes:
    rng = np.random.default_rng(rng_seed)
    return Notes.from_columns(
        pitch=rng.integers(0, 128, num_notes),
        velocity=rng.integers(1, 128, num_notes),
        start=np.cumsum(rng.integers(0, highest_step, num_notes)),
        duration=rng.integers(0, 3 * highest_step, num_notes),
        program=rng.choice([0, 5, 127, 128], num_notes),
        tempo=tempo,
    ).from_first_onset()


def make_piece(notes: Notes, source: str = "Bach/prélude.mid") -> Piece:
    return Piece(piece_id=notes.piece_id, group_id="group", source=source, notes=notes)


LARGE = Notes.from_columns(
    pitch=np.array([0, 127]),
    velocity=np.array([1, 127]),
    start=np.array([0, 2**31 - 1]),
    duration=np.array([2**31 - 1, 0]),
    program=np.array([0, 128]),
    tempo=3.5762789,
)
CASES = {
    "none": make_notes(0),
    "one": make_notes(1),
    "large": LARGE,
    **{str(n): make_notes(n, rng_seed=n) for n in (2, 62, 63, 64, 126, 127, 128, 129, 1000, 20_000)},
    "long_steps": make_notes(300, highest_step=200_000),
    "short_steps": make_notes(300, highest_step=30),
}


# Many pieces at once.


def test_batches_give_the_bytes_of_single_pieces():
    pieces = [notes for notes in CASES.values() for _ in range(2)]
    batch = NoteBatch.from_notes(pieces, MILLISECONDS)
    sources = [f"{index}/prélude\udcff.mid" for index in range(len(pieces))]
    packed = records.serialize_batch(batch, piece_ids=batch.piece_ids(), sources=sources)
    for record, notes, source in zip(packed, pieces, sources, strict=True):
        piece_id = notes.piece_id
        want = records.serialize_columns(piece_id=piece_id, group_id=piece_id, source=source, notes=notes)
        assert record == want


def test_labels_are_in_a_record():
    notes, own = make_notes(5), {"composer": "Bach", "year": "1722"}
    plain = records.Piece(piece_id=notes.piece_id, group_id="a", source="b", notes=notes.from_first_onset())
    record = records.serialize_example(dataclasses.replace(plain, labels=own))
    assert records.deserialize_example(record, time_base=MILLISECONDS).labels == own
    assert records.deserialize_example(records.serialize_example(plain), time_base=MILLISECONDS).labels == {}
    assert b"labels" not in records.serialize_example(plain)
    parsed = records.parse_example(record)
    assert parsed["step"].shape == (5,)


def test_silence_before_the_first_onset_is_not_in_a_record():
    notes = make_notes(5)
    late = dataclasses.replace(notes, start=notes.start + 700)
    packed = [
        records.serialize_batch(NoteBatch.from_notes([each], MILLISECONDS), piece_ids=["a"], sources=["b"])
        for each in (notes, late)
    ]
    assert packed[0] == packed[1]


def test_signatures_are_in_a_record_from_the_first_onset_on():
    notes = make_notes(5)
    signatures = Signatures.parse("4/4, 3/4@1200", "F major, D minor@3700")
    late = dataclasses.replace(notes, start=notes.start + 700, signatures=signatures)
    record = records.serialize_columns(piece_id="1" * 32, group_id="2" * 32, source="s", notes=late)
    features = records.split_features(record)
    assert list(features)[:5] == ["duration", "group_id", "key_signatures", "piece_id", "pitch"]
    assert features["time_signatures"] == b"4/4@-700, 3/4@500"
    assert features["key_signatures"] == b"F major@0, D minor@3000"
    back = records.deserialize_example(record, time_base=MILLISECONDS).notes
    assert back.signatures == Signatures.parse("4/4@-700, 3/4@500", "F major, D minor@3000")
    assert records.set_group(record, "3" * 32) == records.serialize_columns(
        piece_id="1" * 32, group_id="3" * 32, source="s", notes=late
    )
    assert "time_signatures" not in records.split_features(records.serialize_example(make_piece(notes)))


def test_damaged_signatures_are_refused():
    notes = dataclasses.replace(make_notes(2), signatures=Signatures.parse("4/4"))
    record = records.serialize_example(make_piece(notes)).replace(b"4/4@0", b"4/5@0")
    with pytest.raises(ValueError, match="'4/5@0', want time signatures"):
        records.deserialize_example(record, time_base=MILLISECONDS)


@pytest.mark.parametrize("name", ["none", "one", "129", "20000", "large"])
def test_the_group_is_replaced_in_place(name):
    notes = CASES[name]
    record = records.serialize_columns(piece_id="1" * 32, group_id="2" * 32, source="s", notes=notes)
    want = records.serialize_columns(piece_id="1" * 32, group_id="3" * 32, source="s", notes=notes)
    assert records.set_group(record, "3" * 32) == want


def test_a_group_that_does_not_fit_is_refused():
    record = records.serialize_example(make_piece(make_notes(3)))
    with pytest.raises(ValueError, match="group_id is 'groups', want 5 characters"):
        records.set_group(record, "groups")
    with pytest.raises(ValueError, match="damaged at byte"):
        records.set_group(record[:-1], "other")
    with pytest.raises(ValueError, match="damaged at byte"):
        records.set_group(record.replace(b"group_id", b"group_ib"), "other")


def of_tensorflow(piece: Piece) -> bytes:
    """TensorFlow's own bytes, made its own way."""
    import tensorflow as tf

    feature = tf.train.Feature
    features = {
        name: feature(bytes_list=tf.train.BytesList(value=[getattr(piece, name).encode()]))
        for name in ("piece_id", "group_id", "source")
    }
    features["tempo"] = feature(float_list=tf.train.FloatList(value=[piece.notes.tempo]))
    for name in ("step", "pitch", "duration", "velocity", "program"):
        features[name] = feature(int64_list=tf.train.Int64List(value=getattr(piece.notes, name).tolist()))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_tensorflows_own(name):
    piece = make_piece(CASES[name])
    assert records.serialize_example(piece) == of_tensorflow(piece)


@pytest.mark.parametrize("source", ["", "x" * 127, "y" * 128, "z" * 20_000])
def test_the_bytes_are_tensorflows_own_for_any_length_of_text(source):
    piece = make_piece(CASES["64"], source)
    assert records.serialize_example(piece) == of_tensorflow(piece)


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("name", CASES)
def test_a_piece_comes_back(name, time_base):
    notes = dataclasses.replace(CASES[name], time_base=time_base, tempo=float(np.float32(97.53)))
    back = records.deserialize_example(records.serialize_example(make_piece(notes)), time_base=time_base)
    assert back.notes == notes
    assert (back.piece_id, back.group_id, back.source) == (notes.piece_id, "group", "Bach/prélude.mid")
    assert [getattr(back.notes, name).dtype for name in ("pitch", "start", "program")] == [np.uint8, np.int32, np.uint8]


def test_a_file_name_that_is_not_utf8_comes_back():
    source = b"caf\xe9.mid".decode("utf-8", "surrogateescape")
    data = records.serialize_example(make_piece(CASES["one"], source))
    assert b"caf\xe9.mid" in data
    assert records.deserialize_example(data, time_base=MILLISECONDS).source == source


@pytest.mark.parametrize("name", ["one", "large", "1000"])
def test_parse_example_gives_the_columns(name):
    import tensorflow as tf

    piece = make_piece(CASES[name])
    tensors = records.parse_example(tf.constant(records.serialize_example(piece)))
    assert {key: tensor.dtype.name for key, tensor in tensors.items()} == {
        **dict.fromkeys(["piece_id", "group_id", "source"], "string"),
        **dict.fromkeys(["step", "pitch", "duration", "velocity", "program"], "int64"),
        "tempo": "float32",
    }
    for column in ("step", "pitch", "duration", "velocity", "program"):
        assert tensors[column].numpy().tolist() == getattr(piece.notes, column).tolist()
    assert tensors["tempo"].numpy() == np.float32(piece.notes.tempo)
    assert tensors["source"].numpy().decode() == piece.source


def test_silence_before_the_first_note_is_no_record():
    notes = make_notes(3)
    late = dataclasses.replace(notes, start=notes.start + 5)
    with pytest.raises(ValueError, match=r"start\[0\] is 5, want 0"):
        records.serialize_example(make_piece(late))


def test_serializing_needs_no_tensorflow():
    code = "import sys; from midi_codec.dataset import records; print([m for m in sys.modules if 'tensorflow' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def tensorflow_example(**columns: list[int] | None) -> bytes:
    """An example of ours with some columns replaced, or dropped where they are None."""
    import tensorflow as tf

    example = tf.train.Example.FromString(records.serialize_example(make_piece(CASES["2"])))
    for name, values in columns.items():
        if values is None:
            del example.features.feature[name]
        else:
            example.features.feature[name].int64_list.value[:] = values
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pitch": [60, 128]}, r"pitch\[1\] is 128, want 0 to 127"),
        ({"velocity": [0, 64]}, r"velocity\[0\] is 0, want 1 to 127"),
        ({"program": [0, 129]}, r"program\[1\] is 129, want 0 to 128"),
        ({"duration": [2**31, 1]}, r"duration\[0\] is 2147483648, want 0 to 2147483647"),
        ({"duration": [-1, 1]}, "feature duration: number 0 is longer than 9 bytes"),
        ({"step": [3, 1]}, r"step\[0\] is 3, want 0"),
        ({"step": [0, 2**31 - 1, 1]}, "differ in length"),
        ({"pitch": []}, "differ in length: {'step': 2, 'pitch': 0"),
        ({"pitch": None}, "no feature pitch"),
        ({"pedal": [1]}, "unknown feature 'pedal'"),
    ],
)
def test_what_is_no_example_of_ours_is_named(columns, message):
    with pytest.raises(ValueError, match=message):
        records.deserialize_example(tensorflow_example(**columns), time_base=MILLISECONDS)


def test_steps_that_add_up_too_far():
    columns = {name: [1, 1, 1] for name in ("pitch", "duration", "velocity", "program")}
    with pytest.raises(ValueError, match="the steps add up to 2147483648"):
        records.deserialize_example(tensorflow_example(step=[0, 2**31 - 1, 1], **columns), time_base=MILLISECONDS)


def test_no_cut_and_no_wrong_byte_of_a_header_goes_unnoticed():
    data = records.serialize_example(make_piece(CASES["2"]))
    for end in range(len(data)):
        with pytest.raises(ValueError):
            records.deserialize_example(data[:end], time_base=MILLISECONDS)
    for position in range(len(data)):  # a wrong byte raises ValueError and nothing else, or makes another piece
        for wrong in (0, data[position] ^ 0x80, data[position] ^ 0x01, 0xFF):
            damaged = data[:position] + bytes([wrong]) + data[position + 1 :]
            try:
                records.deserialize_example(damaged, time_base=MILLISECONDS)
            except ValueError as error:
                assert str(error)


# ---- framing


def test_tensorflow_reads_our_files_and_we_read_tensorflows(tmp_path):
    import tensorflow as tf

    written = [b"", b"a", b"x" * 100_000]
    ours, theirs = str(tmp_path / "ours.tfrecord"), str(tmp_path / "theirs.tfrecord")
    with open(ours, "wb") as file:
        file.write(records.write_records(written))
    with tf.io.TFRecordWriter(theirs) as writer:
        for record in written:
            writer.write(record)
    assert [record.numpy() for record in tf.data.TFRecordDataset(ours)] == written
    with open(ours, "rb") as one, open(theirs, "rb") as other:
        data = one.read()
        assert data == other.read()
    assert list(records.read_records(data)) == written
    assert list(records.read_records(b"")) == []


def test_damage_is_named_with_its_offset():
    data = records.write_records([b"first", b"second"])
    begin = 12 + 5 + 4  # head, data and tail of the first record
    for position, what in [(begin + 2, "its length"), (begin + 9, "its length"), (begin + 13, "its data")]:
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ValueError, match=f"record at byte {begin} is damaged: {what}"):
            list(records.read_records(bytes(damaged)))
    for end in range(begin + 1, len(data)):
        with pytest.raises(ValueError, match=f"record at byte {begin} is cut off: the file ends at byte {end}"):
            list(records.read_records(data[:end]))


def test_read_pieces(tmp_path):
    path = str(tmp_path / "train-00000-of-00001.tfrecord")
    pieces = [make_piece(make_notes(n, rng_seed=n)) for n in (5, 50)]
    data = records.write_records(records.serialize_example(piece) for piece in pieces)
    with open(path, "wb") as file:
        file.write(data)
    back = list(records.read_pieces(path, time_base=MILLISECONDS))
    assert [piece.notes for piece in back] == [piece.notes for piece in pieces]
    with open(path, "wb") as file:
        file.write(data[:-1])
    with pytest.raises(ValueError, match=r"train-00000-of-00001.tfrecord: record 1: the record at byte \d+ is cut off"):
        list(records.read_pieces(path, time_base=MILLISECONDS))


def test_a_compressed_shard(tmp_path):
    path = str(tmp_path / "train-00000-of-00001.tfrecord")
    data = records.write_records([b"one", b"two"])
    (tmp_path / "train-00000-of-00001.tfrecord.xz").write_bytes(lzma.compress(data))
    assert records.read_shard(path) == data
    (tmp_path / "train-00000-of-00001.tfrecord.xz").write_bytes(b"not compressed")
    with pytest.raises(ValueError, match="tfrecord.xz: Input format not supported"):
        records.read_shard(path)
    with pytest.raises(FileNotFoundError, match="other.tfrecord'"):
        records.read_shard(str(tmp_path / "other.tfrecord"))
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(b"as it is")
    assert records.read_shard(path) == b"as it is"
