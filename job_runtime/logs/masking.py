"""Masks secrets in command lines, settings and messages, so that they are neither stored nor logged.

--s3_secret_access_key=…    --password …    postgresql://user:…@host/name    AccountKey=…;    ?sig=…
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

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
    (re.compile(r"(\w://[^\s/:@'\"]*:)[^\s@'\"]*(?=@)"), rf"\1{MASK}"),  # a slash in a password must be escaped
    (re.compile(r"(\w://)[^\s/:@'\"]{20,}(?=@)"), rf"\1{MASK}"),  # a token instead of a user name
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
    """The text, with whatever looks like a secret masked."""
    if _QUICK.search(text) is None and "earer" not in text:
        return text
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def install() -> None:
    """Masks secrets in everything that is logged, and in the traceback of an uncaught exception."""
    make_record = logging.getLogRecordFactory()

    def make_masked_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        text = record.getMessage()
        masked = mask(text)
        if masked != text:
            record.msg, record.args = masked, ()
        return record

    def write_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(mask("".join(traceback.format_exception(kind, error, trace))))

    logging.setLogRecordFactory(make_masked_record)
    sys.excepthook = write_traceback


def mask_arguments(argv: Sequence[str]) -> list[str]:
    """A command line, with the values of flags named like a secret masked, and secrets in other values too."""
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
