"""initreg.plan.html: a plan in a notebook."""

from html.parser import HTMLParser

import initreg
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.specs import ArraySpec, VariableSpec


def plan_of(*names):
    arrays = [ArraySpec(name, (2,), "float32") for name in names]
    variables = [VariableSpec(name, (2,), "float32") for name in ("w0", "w1", "new")]
    return match([SourceSpecs("<b>.npz", arrays)], variables, "t")


class Cells(HTMLParser):
    """Collects the cells of all tables, and every tag."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")
        self.inside = tag == "td"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def test_a_notebook_shows_every_section():
    """There is a table for each kind of row: folded names, their number, and their note."""
    html = plan_of("w0", "w1", "old")._repr_html_()
    assert Cells(html).cells == [
        *("w{0,1}", "2", "(2,) float32"),
        *("new", "1", "(2,) float32"),
        *("old", "1", "(2,) float32"),
    ]
    assert html.count("<details open>") == 2
    assert "&lt;b&gt;.npz -&gt; t: 2 of 3 variables will be restored" in html


def test_a_plan_that_fails_says_so_first_in_html():
    """The heading of the notebook is the verdict, in white on red, before anything else."""
    arrays = [ArraySpec("w", (2,), "float32")]
    plan = match([SourceSpecs("s", arrays)], [VariableSpec("w", (3,), "float32")], "t")
    heading = "s -&gt; t: cannot be carried out: 1 array does not fit; nothing is written"
    html = plan._repr_html_()
    first = html.index("<p ")
    assert html[first:].startswith('<p class="verdict bad" style="background:#b3261e;color:#fff;')
    assert html[first:].partition(">")[2].startswith(f"{heading}</p>")
    assert html.count("verdict bad") == 1
    assert "verdict bad" not in plan_of("w0")._repr_html_()


def placed(name="<a>_1/w"):
    """A plan by place, of a layer without a name."""
    arrays = [ArraySpec("layers/a/w", (2,), "float32", ("a/w",), places=("layers/a/w",))]
    variables = [
        VariableSpec(name, (2,), "float32", ("layers/a/w",), ("layers/a/w",), (name,)),
    ]
    return match([SourceSpecs("m.weights.h5", arrays)], variables, "t")


def test_the_way_of_naming_is_in_html():
    """A notebook says by which names the arrays were matched, and why, as the text does."""
    plan = placed()
    assert str(plan.ways[0]).startswith("matched by place: ")
    assert f"<p>{plan.ways[0]}</p><details" in plan._repr_html_()
    assert f"  {plan.ways[0]}\n" in str(plan)
    assert "matched by" not in plan_of("w0")._repr_html_()


def test_what_is_in_doubt_is_open():
    """A section of its own shows variables whose axes may be in another order, and why."""
    plan = plan_of("w0", "w1").with_doubts({0: "fits transposed as well"})
    html = plan._repr_html_()
    assert "<details open><summary>1 matched, but maybe with axes in another order" in html
    assert Cells(html).cells[:6] == [
        *("w0", "1", "(2,) float32, fits transposed as well"),
        *("w1", "1", "(2,) float32"),
    ]


def test_names_of_strangers_are_text_in_html():
    """A name with markup in it is shown as text."""
    evil = "<script>alert(1)</script>"
    parsed = Cells(plan_of(evil, "w0")._repr_html_())
    assert "script" not in parsed.tags
    assert evil in parsed.cells


def test_hints_and_unmet_expectations_are_in_html():
    """The HTML has the code of hints, and the patterns that matched nothing."""
    plan = plan_of("w0").with_hints([initreg.Hint("it is so", {"drop": "x"}, '"m.npz"')])
    assert "it is so: <code>SmartInit(&quot;m.npz&quot;, drop=&quot;x&quot;)</code>" in (
        plan._repr_html_()
    )
