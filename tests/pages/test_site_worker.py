"""The search of the documentation site on the disk, where a browser starts no worker by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chromium import Chromium

pytestmark = pytest.mark.pages

SCRIPT = Path(__file__).parents[2] / "tools" / "site" / "worker.js"
# As the site's search does it: messages both ways, through onmessage and through a listener.
WORKER = """
self.onmessage = (event) => {
  event.data.words.push("changed here")
  postMessage({ total: event.data.words.length, own: typeof document, seen: event.data })
}
"""
PAGE = """<!doctype html><script src="worker.js"></script><body><script>
  const heard = [], got = []
  const worker = new Worker("counting.js")
  worker.addEventListener("message", (event) => heard.push(event.data))
  worker.onmessage = (event) => got.push(event.data)
  const sent = { words: ["a", "b"] }
  worker.postMessage(sent) // before its script is loaded
</script>"""
BOTH = """new Promise((done) => {
  worker.postMessage({ words: ["a", "b", "c"] })
  worker.addEventListener("message", () => got.length === 2 && done())
})"""


def test_a_page_on_the_disk_has_a_worker(browser: Chromium, tmp_path: Path) -> None:
    """Messages arrive in both directions, also those that were sent before the script was there. As
    those of a real worker they are copies. When it is terminated, nothing of it is left."""
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "counting.js").write_text(WORKER)
    (tmp_path / "page.html").write_text(PAGE)
    browser.open(tmp_path / "page.html")
    browser.run(BOTH)
    assert browser.run("got.map((each) => each.total)") == [3, 4]
    assert browser.run("heard.map((each) => each.total)") == [3, 4]
    assert browser.run("sent.words") == ["a", "b"]
    assert browser.run("document.querySelectorAll('iframe').length") == 1
    browser.run("worker.terminate()")
    assert browser.run("document.querySelectorAll('iframe').length") == 0
    assert browser.complaints == []


def test_a_worker_that_does_not_exist_says_so(browser: Chromium, tmp_path: Path) -> None:
    """So the search can say that it does not work."""
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "page.html").write_text('<!doctype html><script src="worker.js"></script><body>')
    browser.open(tmp_path / "page.html")
    said = browser.run(
        """new Promise((done) => {
          const worker = new Worker("no.js")
          worker.onerror = (event) => done(event.type)
        })"""
    )
    assert said == "error"
