"""The pieces' `.mid` files: inside the page, compressed together, and as links to where they lie."""

from __future__ import annotations

import os.path
import urllib.parse
import zlib
from collections.abc import Sequence

from generation_jobs.output.generated_music import GeneratedPiece
from generation_jobs.output.piece_files import read_pieces

MAX_BYTES = 16 << 20  # of compressed files in the page: some 10,000 pieces


def pack(pieces: Sequence[GeneratedPiece], music: str) -> tuple[bytes, list[int]]:
    """All files one after another, deflated (their manifest lines are alike), and their sizes; 0: not in the page.

    The files are the job's own, byte for byte. Once `MAX_BYTES` are reached, the other pieces are left out.
    """
    packer = zlib.compressobj(9)
    packed, sizes = bytearray(), []
    for data in read_pieces(music, [piece.line["path"] for piece in pieces]):
        if isinstance(data, OSError) or len(packed) >= MAX_BYTES:
            sizes.append(0)
            continue
        packed += packer.compress(data)
        sizes.append(len(data))
    return bytes(packed + packer.flush()), sizes


def links(pieces: Sequence[GeneratedPiece], music: str, output: str) -> dict[int, str]:
    """Relative links from the page to the `.mid` files; none if the page or the music is in a bucket."""
    if "://" in music or "://" in output:
        return {}
    folder = os.path.dirname(os.path.abspath(output))
    return {
        index: quote(os.path.relpath(os.path.join(music, piece.line["path"]), folder))
        for index, piece in enumerate(pieces)
        if "!" not in piece.line["path"]  # a member of a tar has no address
    }


def quote(path: str) -> str:
    """A relative path as a link; never one with a scheme, whatever the first folder is called."""
    return "./" + urllib.parse.quote(path, errors="surrogateescape")
