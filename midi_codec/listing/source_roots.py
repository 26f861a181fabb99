"""The beginnings of sources if inputs are below several roots: the roots' names, just long enough to differ.

A root inside another one counts as that one. So names depend neither on the order of the roots nor on where they are.
"""

from __future__ import annotations

from collections.abc import Sequence


def name_roots(folders: Sequence[str]) -> dict[str, str]:
    """The folder for each beginning of sources; `{"": folder}` if there is only one root.

    No name is the beginning of another, so sources cannot clash.
    """
    outer = outermost(folders)
    if len(outer) == 1:
        return {"": outer[0]}
    below_scheme = [folder.partition("://")[2] or folder for folder in outer]
    parts = [[part for part in folder.split("/") if part] for folder in below_scheme]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(outermost(names)) == len(outer):
            return dict(zip(names, outer, strict=True))
    return {folder: folder for folder in outer}  # the same path in two kinds of storage


def outermost(folders: Sequence[str]) -> list[str]:
    """The folders that are not inside another one, once each, sorted."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=with_slash):  # one below follows its parent
        if not kept or not with_slash(folder).startswith(with_slash(kept[-1])):
            kept.append(folder)
    return kept


def with_slash(folder: str) -> str:
    """The beginning of every path below a folder."""
    return folder.rstrip("/") + "/"
