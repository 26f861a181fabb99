import numpy as np
import pytest

from beam_pipelines.planning import digests

IDS = np.array([b"%032x" % number for number in (0, 1, 255, 256, 7 << 120, (1 << 128) - 1)], "S32")


def test_ids_come_back_and_keep_their_order():
    packed = digests.pack(IDS)
    assert packed.dtype == "S16"
    assert digests.unpack(packed).tolist() == IDS.tolist()
    order = np.random.default_rng(0).permutation(len(IDS))
    assert np.argsort(packed[order]).tolist() == np.argsort(IDS[order]).tolist()
    assert np.searchsorted(packed, packed[order]).tolist() == order.tolist()


def test_no_id_is_empty():
    assert digests.pack(np.array([b"", IDS[1]], "S32")).tolist() == [b"", b"\0" * 15 + b"\1"]
    assert digests.pack(np.zeros(0, "S32")).tolist() == digests.unpack(np.zeros(0, "S16")).tolist() == []


@pytest.mark.parametrize("wrong", [b"0" * 31, b"0" * 31 + b"g", b"A" * 32])
def test_other_ids_are_refused(wrong):
    with pytest.raises(ValueError, match="an id is not 32 hex digits"):
        digests.pack(np.array([wrong], "S32"))
