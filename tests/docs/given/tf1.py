"""What is looked at: the values of the session."""


def it_is_restored(page, again):
    init = ".init(session)\n"
    again(init, init + '    reached = session.run(out, {x: np.ones((1, 4), "f4")})\n')
    again(init, init + "    values = session.run(graph.get_collection('variables'))\n")
    assert page.values[0].tolist() == [[1, 1]] * 4
    assert page.values[1].tolist() == [1, 1]
    assert [row.name for row in page.plan.restored] == ["fc/W", "fc/b"]


AFTER = {"placeholder(": it_is_restored}
