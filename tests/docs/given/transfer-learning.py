"""The file ``mymodel.py``, as the page shows it."""

from pathlib import Path

from pages import ROOT, blocks_of

import initreg

PAGE = ROOT / "docs" / "transfer-learning.md"
MYMODEL = "# mymodel.py\n"  # the first line of the block that the reader saves


def given(page):
    (text,) = [block.text for block in blocks_of(PAGE) if block.text.startswith(MYMODEL)]
    Path("mymodel.py").write_text(text)


def all_but_the_head(page, again):
    assert [row.name for row in page.plan.restored] == ["conv/W", "fc/W", "fc/b"]
    assert [row.name for row in page.plan.of("only in target")] == ["head/W", "head/b"]
    # The session is closed by now, so look into another one.
    init = ").init(session)\n"
    again(init, init + "        values = session.run(v1.global_variables())\n")
    base = initreg.load("base.npz")
    for value, name in zip(page.values, ("conv/W", "fc/W", "fc/b"), strict=False):
        assert (value == base[f"net/{name}"]).all()
    assert [value.shape for value in page.values[3:]] == [(8, 3), (3,)]


def after(page):
    base = initreg.load("base.npz")
    assert [w.tolist() for w in page.model.get_layer("hidden").get_weights()] == [
        base["net/fc/W"].tolist(),
        base["net/fc/b"].tolist(),
    ]
    assert page.mine["head/W"][:, :3].tolist() == base["net/head/W"][:, [7, 0, 3]].tolist()
    assert page.mine["head/b"].tolist() == [*base["net/head/b"][[7, 0, 3]], -4]
    assert page.mine["fc/W"].tolist() == base["net/fc/W"].tolist()


AFTER = {'drop=["net/head/*", "global_step"]': all_but_the_head}
