"""The installed plugins are loaded once, by one thread, and no call waits for itself.

Each test runs a program in a process of its own, which is ended before a lost import would be.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from initreg.plugin.loading import PATIENCE

WORKING = """
from initreg import Claim, Confidence, hookimpl

@hookimpl
def initreg_claim(source):
    return Claim(Confidence.EXACT, "says so") if source.obj == "mine" else None

@hookimpl
def initreg_open(source, options):
    return {}
"""
CALLED = (
    "initreg is called by a plugin that is being imported; make the call in a hook or a function"
)
NAMED = "plugin {!r} calls initreg while it is imported; make the call in a hook or a function"
BEGIN = """
import threading
import initreg
from initreg.plugin.installed import default_registry

def broken():
    return {r.name: r.broken for r in default_registry().records if r.broken is not None}
"""


def run(folder: Path, program: str, **plugins: str) -> list[str]:
    """What the program prints, line by line, where these plugins are installed."""
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    lines = [f"{name} = plugin_{name}" for name in plugins]
    (info / "entry_points.txt").write_text("[initreg]\n" + "\n".join(lines) + "\n")
    for name, text in plugins.items():
        (folder / f"plugin_{name}.py").write_text(textwrap.dedent(text))
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(program)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 0.9,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_plugin_that_calls_initreg_while_it_is_imported(tmp_path: Path) -> None:
    """The call raises at once. The plugin is recorded with that, and the others work."""
    printed = run(
        tmp_path,
        """
        print(initreg.probe("mine").winner)
        print(broken())
        """,
        calls="import initreg\ninitreg.probe('mine')\n" + WORKING,
        good=WORKING,
    )
    assert printed == ["good", str({"calls": f"cannot be imported: PluginError: {CALLED}"})]


def test_plugin_that_waits_for_a_thread_that_calls_initreg(tmp_path: Path) -> None:
    """Its import is given up, as any that does not end; then the thread's call is answered."""
    calls = """
    import initreg, threading
    def call():
        initreg.answer = initreg.probe("mine").winner
    initreg.thread = threading.Thread(target=call)
    initreg.thread.start()
    initreg.thread.join()
    """
    printed = run(
        tmp_path,
        """
        from initreg.plugin import loading
        loading.PATIENCE = 0.5
        print(initreg.probe("mine").winner)
        print(broken())
        initreg.thread.join()
        print(initreg.answer)
        """,
        calls=calls,
        good=WORKING,
    )
    given_up = "its import has not ended for 0.5 s, and was given up"
    assert printed == [
        "good",
        str({"calls": f"cannot be imported: PluginError: {given_up}"}),
        "good",
    ]


def test_plugin_that_expects_the_error_works(tmp_path: Path) -> None:
    """It is a plugin like any other once its import has ended."""
    calls = """
    import initreg
    try:
        initreg.probe("mine")
    except initreg.PluginError as error:
        told = str(error)
    """
    printed = run(
        tmp_path,
        """
        print(initreg.probe("mine").winner, broken())
        import plugin_calls
        print(plugin_calls.told)
        """,
        calls=textwrap.dedent(calls) + WORKING,
    )
    assert printed == ["calls {}", CALLED]


def test_plugin_that_the_user_imports_first(tmp_path: Path) -> None:
    """The user sees the error, which names the plugin; nothing half-loaded is kept."""
    printed = run(
        tmp_path,
        """
        try:
            import plugin_calls
        except initreg.PluginError as error:
            print(error)
        print(initreg.probe("mine").winner, list(broken()))
        """,
        calls="import initreg\ninitreg.probe('mine')" + WORKING,
        good=WORKING,
    )
    assert printed == [
        "plugin 'calls' calls initreg while it is imported; make the call in a hook or a function",
        "good ['calls']",
    ]


def test_module_that_calls_initreg_and_that_a_plugin_imports(tmp_path: Path) -> None:
    """A module may use initreg while it is imported, and a plugin may need that module."""
    (tmp_path / "helper.py").write_text("import initreg\nwinner = initreg.probe('mine').winner\n")
    printed = run(
        tmp_path,
        """
        import helper
        print(helper.winner, broken())
        """,
        good="import helper\n" + WORKING,
    )
    assert printed == ["good {}"]


def test_plugin_of_a_package_that_calls_initreg(tmp_path: Path) -> None:
    """So may the package that the plugin is in."""
    (tmp_path / "plugin_good").mkdir()
    package = (
        "import initreg\nfrom plugin_good import hooks\nwinner = initreg.probe('mine').winner\n"
    )
    (tmp_path / "plugin_good" / "__init__.py").write_text(package)
    (tmp_path / "plugin_good" / "hooks.py").write_text(WORKING)
    info = tmp_path / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[initreg]\nhooks = plugin_good.hooks\n")
    printed = run(tmp_path, "import plugin_good\nprint(plugin_good.winner, broken())")
    assert printed == ["hooks {}"]


def test_registry_of_ones_own_in_a_plugin(tmp_path: Path) -> None:
    """A plugin that makes a registry while it is imported is not in it, and works."""
    makes = """
    from initreg.plugin.registry import Registry
    inner = {r.name: r.broken for r in Registry().records if r.distribution == "stranger"}
    """
    printed = run(
        tmp_path,
        """
        print(initreg.probe("mine").winner, broken())
        import plugin_makes
        print(plugin_makes.inner)
        """,
        makes=textwrap.dedent(makes) + WORKING,
    )
    reason = (
        "cannot be imported: PluginError: it is being imported by the code that loads the plugins"
    )
    assert printed == ["makes {}", str({"makes": reason})]


def test_threads_that_ask_at_once_get_the_same_complete_registry(tmp_path: Path) -> None:
    """The plugins are imported once; who comes while they are waits for all of them."""
    printed = run(
        tmp_path,
        """
        barrier = threading.Barrier(8)
        found = []
        def ask():
            barrier.wait()
            registry = default_registry()
            found.append((id(registry), registry.formats()))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len({number for number, _ in found}), all("slow" in names for _, names in found))
        """,
        slow="import time\nprint('imported')\ntime.sleep(0.5)" + WORKING,
    )
    assert printed == ["imported", "1 True"]


def test_thread_that_imports_a_plugin_while_another_loads_them(tmp_path: Path) -> None:
    """Each would wait for the other: the import's call is refused, and the loading goes on."""
    printed = run(
        tmp_path,
        """
        initreg.importing, initreg.loading = threading.Event(), threading.Event()
        def use():
            try:
                import plugin_calls
            except initreg.PluginError as error:
                print(error)
        user = threading.Thread(target=use, name="user")
        user.start()
        initreg.importing.wait()
        print(initreg.probe("mine").winner)
        user.join()
        """,
        zero="import initreg\ninitreg.loading.set()" + WORKING.replace("mine", "other"),
        calls="""
        import threading, initreg
        if threading.current_thread().name == "user":
            initreg.importing.set()
            initreg.loading.wait()
            initreg.probe("mine")
        """
        + textwrap.indent(WORKING, "        "),
    )
    assert printed == [NAMED.format("calls"), "calls"]


FORK = """
import os, sys
def fork(child):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            child()
            sys.stdout.flush()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_fork_while_another_thread_loads(tmp_path: Path) -> None:
    """The child has all plugins, and loads none again."""
    printed = run(
        tmp_path,
        FORK
        + textwrap.dedent("""
        initreg.importing = threading.Event()
        loader = threading.Thread(target=default_registry)
        loader.start()
        initreg.importing.wait()
        print(fork(lambda: print(initreg.probe("mine").winner, broken())))
        loader.join()
        print(fork(lambda: print(initreg.probe("mine").winner, broken())))
        """),
        slow="import initreg, time\nprint('imported')\ninitreg.importing.set()\ntime.sleep(0.5)"
        + WORKING,
    )
    assert printed == ["imported", "slow {}", "0", "slow {}", "0"]


def test_fork_while_another_thread_imports_for_initreg(tmp_path: Path) -> None:
    """The child does not wait for the lock of a module that only its parent imports."""
    (tmp_path / "slow_library.py").write_text(
        "import initreg, time\ninitreg.importing.set()\ntime.sleep(0.5)\nvalue = 1"
    )
    printed = run(
        tmp_path,
        FORK
        + textwrap.dedent("""
        initreg.importing = threading.Event()
        default_registry()
        loader = threading.Thread(target=initreg.probe, args=("mine",))
        loader.start()
        initreg.importing.wait()
        print(fork(lambda: print(initreg.probe("mine").winner)))
        loader.join()
        """),
        lazy=WORKING.replace(
            "return Claim", "if source.obj == 'mine': import slow_library\n    return Claim"
        ),
    )
    assert printed == ["lazy", "0"]


def test_ctrl_c_while_a_fork_waits(tmp_path: Path) -> None:
    """The fork takes place at once, and the loading that it waited for ends."""
    printed = run(
        tmp_path,
        FORK
        + textwrap.dedent("""
        import signal, time, types
        import initreg.forking
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
        sys.unraisablehook = lambda given: print(given.exc_type.__name__)
        initreg.importing, initreg.forked = threading.Event(), threading.Event()
        loader = threading.Thread(target=default_registry)
        loader.start()
        initreg.importing.wait()
        interrupt = lambda seconds: signal.raise_signal(signal.SIGINT)
        initreg.forking.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=interrupt)
        print(fork(lambda: None))
        initreg.forked.set()
        print(initreg.probe("mine").winner, broken())
        loader.join()
        """),
        slow="import initreg\nprint('imported')\ninitreg.importing.set()\ninitreg.forked.wait(60)"
        + WORKING,
    )
    assert printed == ["imported", "KeyboardInterrupt", "0", "slow {}"]


def test_fork_by_a_plugin_that_is_imported(tmp_path: Path) -> None:
    """The child's call is refused, as the plugin's own is; both processes go on."""
    calls = FORK + textwrap.dedent("""
    import initreg
    def child():
        try: initreg.probe("mine")
        except initreg.PluginError as error: print(error)
    print(fork(child))
    """)
    printed = run(tmp_path, "print(initreg.probe('mine').winner, broken())", forks=calls + WORKING)
    assert printed == [
        CALLED,
        "0",
        "forks {}",
    ]


def test_loading_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    """Ctrl-C during an import reaches the user, and the next call loads all plugins."""
    printed = run(
        tmp_path,
        """
        try:
            initreg.probe("mine")
        except KeyboardInterrupt:
            print("interrupted")
        print(initreg.probe("mine").winner, broken())
        """,
        first="""
        import initreg
        if not hasattr(initreg, "seen"):
            initreg.seen = True
            raise KeyboardInterrupt
        """
        + textwrap.indent(WORKING, "        "),
    )
    assert printed == ["interrupted", "first {}"]
