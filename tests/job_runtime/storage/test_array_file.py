"""Archives of arrays that lie: nothing larger than the file is made, and each says why it is none."""

import io
import struct
import zipfile

import numpy as np
import pytest

from job_runtime.storage import array_file

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.asfortranarray(np.arange(6).reshape(3, 2))}


def saved(arrays=ARRAYS, save=np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def problem_of(data: bytes) -> str:
    with pytest.raises(ValueError) as error:
        array_file.parse(data)
    return str(error.value)


def test_arrays_come_back_and_can_be_written_to(tmp_path):
    path = str(tmp_path / "x.npz")
    array_file.write(path, ARRAYS)
    read = array_file.read(path)
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype and (read[name] == array).all() and read[name].flags.writeable
    assert array_file.parse(saved({"none": np.zeros((0, 3)), "one": np.float64(2)}))["one"] == 2


def test_an_array_with_python_objects_is_refused():
    assert problem_of(saved({"a": np.array([{}, 1], object)})) == "a: holds Python objects, want numbers or text"


def test_what_is_compressed_is_refused_unread():
    data = saved({"a": np.zeros(10**7, np.uint8)}, np.savez_compressed)
    assert len(data) < 20_000
    assert problem_of(data).startswith("a is compressed, want arrays as numpy.savez writes them; ")


@pytest.mark.parametrize(
    ("header", "data", "want"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", bytes(8), "a: float32 of the shape (3,) takes 12"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(8), "takes 4 bytes, there are 8"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000,)}", bytes(8), "there are 8"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2)}", bytes(8), "want an array with bytes in it"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2)}", bytes(8), "want an array with bytes in it"),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (2,)}", b"", "want an array with bytes in it"),
        ("{'descr': 'x', 'fortran_order': False, 'shape': (2,)}", bytes(8), "a: descr is not a valid dtype"),
        ("{'descr': '<f4', 'shape': (2,)}", bytes(8), "a: Header does not contain the correct keys"),
        ("(" * 100, bytes(8), "a: "),
        ("", bytes(8), "a: "),
    ],
)
def test_headers_that_lie(header, data, want):
    assert want in problem_of(archive(a=npy(header, data)))


def test_entries_that_share_their_bytes_are_no_larger_than_the_file():
    data = bytearray(archive(a=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9000,)}", bytes(9000))))
    place = data.index(b"PK\1\2")
    directory, end = data[place : data.index(b"PK\5\6")], data[data.index(b"PK\5\6") :]
    copies = b"".join(directory.replace(b"a.npy", f"{n:05d}".encode()) for n in range(1000))
    struct.pack_into("<HHI", end, 8, 1000, 1000, len(copies))
    assert "the arrays are said to be larger than the file" in problem_of(bytes(data[:place] + copies + end))


def test_bytes_that_were_changed_are_noticed():
    data = saved()
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 0x55
        try:
            read = array_file.parse(bytes(changed))
        except ValueError as error:
            assert str(error)
        else:
            assert all((array == ARRAYS[name]).all() for name, array in read.items() if name in ARRAYS)
    for length in range(0, len(data), 7):
        assert problem_of(data[:length])
