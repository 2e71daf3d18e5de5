"""What a failed download leaves under the name of a file: a pointer, a web page, a message.

Sources: for git-lfs its docs/spec.md, by which a pointer begins with ``version``, and the two older
addresses there. For git-annex its internals/pointer_file page. For the messages in JSON: RFC 9457
("problem details"), and what GitHub, Hugging Face, Google and Zenodo answer.
"""

from __future__ import annotations

import re

HEAD = 4096  # bytes of a file that are looked at

_AGAIN = "the download gave %s, not the file. Download the file again"
_LFS = "a git-lfs pointer, not the file itself. To get the file, type in its repository: "
_POINTERS = (
    (b"version https://git-lfs", _LFS + "git lfs pull"),
    (b"version https://hawser.github.com", _LFS + "git lfs pull"),
    (b"version http://git-media.io", _LFS + "git lfs pull"),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file itself. To get the file, type in its repository: "
        "git annex get",
    ),
)
# What may come before the first element of a page. Few files are looked at so closely, so these
# regexes are compiled by the first that is.
_BEFORE = r"(?s:\s|<\?xml.*?\?>|<!--.*?-->)*"
_HTML = r"(?i)<(?:!doctype html|html|head|body|title|meta|script)\b"
# S3, Google's and Azure's storage answer so.
_XML = r"<(?:Error|ListBucketResult|AccessDenied)\b"
# Keys of a message in JSON. One of the first four is there, and no key is of another kind.
_MESSAGE = {"error", "errors", "message", "detail"}
_KEYS = _MESSAGE | {
    *("details", "status", "statuscode", "status_code", "code", "documentation_url", "title"),
    *("type", "instance", "path", "timestamp", "success", "reason", "request_id", "requestid"),
    *("error_code", "error_description", "errorcode", "msg", "url", "data", "ok"),
}
_LONGEST_TEXT = 200  # bytes of a message in plain text
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_TEXTS = (
    r"(?i)(?:error:? ?)?(?:40[0134]|429|50[0234])?:? ?(?:page |file |entry |repository )?"
    r"(?:not found|access denied|forbidden|unauthorized|too many requests|bad gateway|"
    r"service unavailable|internal server error|gateway time-?out|invalid username or password|"
    r"invalid credentials in authorization header)\.?"
)


def stand_in(head: bytes, size: int) -> str:
    """What a file is that was left instead of the one that was asked for.

    Args:
        head: its first bytes, up to ``HEAD`` of them.
        size: how many bytes it has.

    Returns:
        What it is, and what to do, in words. ``""`` if it does not look like that.

    >>> stand_in(b"<!doctype html><p>Sign in", 25)
    'an HTML page: the download gave a web page, not the file. Download the file again'
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what in _POINTERS:
        if start.startswith(magic):
            return what
    if size > _LONGEST_TEXT and not start.startswith((b"<", b"{")) and not head.startswith(_UTF_16):
        return ""
    text = _text(head)
    page = text[_before(text) :]
    if re.match(_HTML, page):
        return "an HTML page: " + _AGAIN % "a web page"
    if re.match(_XML, page):
        return "a message of a web server, in XML: " + _AGAIN % "an error"
    if size <= HEAD and page.startswith("{") and _is_message(page):
        return "a message of a web server, in JSON: " + _AGAIN % "an error"
    if re.fullmatch(_TEXTS, page.strip()):
        return f"a message of a web server ({page.strip()!r}): " + _AGAIN % "an error"
    return ""


def _text(head: bytes) -> str:
    encoding = "utf-16" if head.startswith(_UTF_16) else "utf-8-sig"
    return head.decode(encoding, "replace")


def _before(text: str) -> int:
    found = re.match(_BEFORE, text)
    return found.end() if found else 0


def _is_message(text: str) -> bool:
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    keys = {key.lower() for key in found}
    return bool(keys & _MESSAGE) and keys <= _KEYS
