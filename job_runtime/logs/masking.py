"""Secrets in command lines, settings and messages: what must neither be stored nor logged.

--s3_secret_access_key=…    --password …    postgresql://user:…@host/name    AccountKey=…;    ?sig=…
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "…"
_NAME = (
    r"(?:[\w.]+[-_.])*(?:(?:api|access|account|secret)?key|secret|token|(?:pg)?passw(?:or)?d|passphrase|credentials?"
    r"|connection[_-]?string|sas)(?:[-_.][\w.-]+)?"
)
_FLAG = re.compile(rf"--?{_NAME}", re.IGNORECASE)
_QUICK = re.compile(r"key|secret|token|passw|passphrase|credential|connection|sig|sas|://[^/\s]*@", re.IGNORECASE)
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)"
_IN_TEXT = (
    (
        re.compile(rf"((?<![\w-])--?{_NAME}(?:=|\s+(?!is\b|and\b|or\b|has\b)))(?!-){_VALUE}", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (re.compile(r"(\w://[^\s/:@'\"]*:)[^\s@'\"]*(?=@)"), rf"\1{MASK}"),  # a slash in a password has to be escaped
    (re.compile(r"(\w://)[^\s/:@'\"]{20,}(?=@)"), rf"\1{MASK}"),  # a token in place of a name
    (
        re.compile(
            r"((?:[?&;\s'\"]|^)(?:sig|signature|(?:[\w-]*[_-])?(?:key|secret|token|(?:pg)?password|passwd|pwd|credential)"
            r"|accountkey|sharedaccess\w*|secretaccesskey|awsaccesskeyid|x-(?:goog|amz)-(?:signature|credential"
            r"|security-token))=)[^\s&;'\"]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"([\"']{_NAME}[\"']\s*[:,]\s*)(?:\"[^\"]*\"|'[^']*')", re.IGNORECASE), rf"\1'{MASK}'"),
    (re.compile(r"((?:authorization:\s*)?bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
)


def mask(text: str) -> str:
    """The text without what looks like a secret."""
    if _QUICK.search(text) is None and "earer" not in text:
        return text
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def mask_arguments(argv: Sequence[str]) -> list[str]:
    """A command line without the values of flags that are named like a secret, and without secrets in other values."""
    masked = []
    is_secret = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        is_flag = argument.startswith("-")
        if is_secret and not is_flag:
            masked.append(MASK)
        elif is_flag and equals and _FLAG.fullmatch(name):
            masked.append(f"{name}={MASK}")
        else:
            masked.append(mask(argument))
        is_secret = is_flag and not equals and _FLAG.fullmatch(name) is not None
    return masked
