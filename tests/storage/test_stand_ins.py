"""initreg.storage.stand_ins: what a failed download leaves is recognised, and nothing else is."""

import json

import numpy as np
import pytest

from initreg.storage.stand_ins import stand_in

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def what(content):
    return stand_in(content[:4096], len(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "git lfs pull"),
        (LFS.replace(b"\n", b"\r\n"), "git lfs pull"),
        (b"version http://git-media.io/v/2\noid sha256:aa\nsize 1\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s123--aa.h5\n", "git annex get"),
        (b"<!DOCTYPE html><html>" + b"x" * 9000, "an HTML page"),
        (b"\xef\xbb\xbf\n <!-- a proxy -->\n<html lang=de>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "an HTML page"),
        ("<html><head>".encode("utf-16"), "an HTML page"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>', "in XML"),
        (b'{"error":"Repository not found"}', "in JSON"),
        (b'{\n  "message": "Not Found",\n  "documentation_url": "https://x"\n}', "in JSON"),
        (b'{"detail": "no", "status": 404, "type": "about:blank", "title": "x"}', "in JSON"),
        (b"404: Not Found", "(404: Not Found)".replace("(", "('").replace(")", "')")),
        (b"Entry not found\n", "'Entry not found'"),
        (b"Invalid username or password.", "a message of a web server"),
    ],
)
def test_what_a_failed_download_leaves(content, said):
    """Pointers, pages and messages are named, with what to do."""
    assert said in what(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY" + bytes(100),
        b"\x89HDF\r\n\x1a\n" + bytes(9000),
        b"PK\x03\x04" + bytes(30),
        b"<model/>",
        b'<?xml version="1.0"?><net name="openvino">',
        json.dumps(
            {"metadata": {}, "weight_map": {"error": "m-00001-of-00002.safetensors"}}
        ).encode(),
        json.dumps({"message": [1.0, 2.0], "w": [3.0]}).encode(),
        b'{"error": ',
        b"[" * 3000,
        b"version 1 of my notes",
        b"these weights were not found by chance",
        np.random.default_rng(0).bytes(4096),
        b"\xff\xfe\x00\x01" + bytes(range(256)),
    ],
)
def test_other_files_are_left_alone(content):
    """Weights, indices, and text that says something else are none of these."""
    assert what(content) == ""


def test_json_of_more_than_a_head_is_not_a_message():
    """What does not end within the head is not parsed, so it cannot be said to be a message."""
    assert what(b'{"error": "' + b"x" * 5000 + b'"}') == ""
