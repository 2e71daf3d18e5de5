"""Calls of hooks through pluggy: of one plugin at a time, with the wrappers of all plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import Any

import pluggy

from initreg.errors import PluginError, brief, is_fault


class Manager(pluggy.PluginManager):
    """pluggy's manager, which looks only at the functions of a module. To find a hook, pluggy asks
    ``inspect.getattr_static`` for each name of a module, its classes and constants too, and that
    takes twenty times as long as to see that they are none."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """See pluggy."""
        return None if _is_no_hook(plugin, name) else super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        """See pluggy."""
        if _is_no_hook(module_or_class, name):
            return None
        return super().parse_hookspec_opts(module_or_class, name)


def _is_no_hook(holder: object, name: str) -> bool:
    """Whether what a module has under a name is a class, or cannot be called."""
    if type(holder) is not ModuleType or name not in vars(holder):
        return False
    found = vars(holder)[name]
    kind: type = type(found)
    return issubclass(kind, type) or not (callable(found) or issubclass(kind, classmethod))


class Calls:
    """Calls the hooks of one plugin manager.

    Each method looks at what is registered at that moment, so a plugin that is added or removed
    counts from the next call on.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager
        self._made: dict[str, tuple[list[pluggy.HookImpl], dict[str, pluggy.HookCaller]]] = {}

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """All that are not wrappers, in pluggy's order."""
        return [impl for impl in self._registered(hook) if not is_wrapper(impl)]

    def wrappers(self, hook: str) -> list[str]:
        """The names of the plugins that wrap ``hook``, the outermost first."""
        names = [impl.plugin_name for impl in self._registered(hook) if is_wrapper(impl)]
        return list(dict.fromkeys(names))

    def callers(self, hook: str) -> dict[str, pluggy.HookCaller]:
        """For each plugin that implements ``hook``, by name in pluggy's order, what calls it."""
        registered = self._registered(hook)
        found = self._made.get(hook)
        if found is None or found[0] != registered:
            names = [impl.plugin_name for impl in self.implementations(hook)]
            found = self._made[hook] = (registered, {n: self._only(hook, n) for n in names})
        return found[1]

    def ask_each(
        self,
        hook: str,
        failed: dict[str, str],
        check: Callable[[Any], Any],
        raised: tuple[type[Exception], ...] = (),
        **arguments: Any,
    ) -> dict[str, Any]:
        """The answer of each plugin, by name in alphabetical order, once ``check`` has passed it.

        A plugin that raises is put into ``failed``, with the reason, and breaks no other. If it is
        a wrapper that raises, the plugin is asked again without that wrapper. Errors of the types
        ``raised`` are not caught.
        """
        answers: dict[str, Any] = {}
        for name, caller in self.callers(hook).items():
            left_out: list[object] = []
            while name not in answers and name not in failed:
                try:
                    answers[name] = check(caller(**arguments))
                except raised:
                    raise
                except BaseException as error:
                    if not is_fault(error):
                        raise
                    reason = str(error) if isinstance(error, PluginError) else brief(error)
                    wrapper = _guilty_wrapper(error, caller)
                    if wrapper is None:
                        failed[name] = reason
                    else:
                        failed[wrapper.plugin_name] = reason
                        left_out.append(wrapper.plugin)
                        caller = self._only(hook, name, left_out)
        return dict(sorted(answers.items()))

    def guilty_wrapper(self, hook: str, name: str, error: BaseException) -> str | None:
        """The name of the wrapper that raised ``error`` in a call of plugin ``name``, if any."""
        wrapper = _guilty_wrapper(error, self.callers(hook)[name])
        return None if wrapper is None else wrapper.plugin_name

    def _registered(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return caller.get_hookimpls()[::-1]  # pluggy keeps first what it calls last

    def _only(self, hook: str, name: str, without: Sequence[object] = ()) -> pluggy.HookCaller:
        others = [i.plugin for i in self.implementations(hook) if i.plugin_name != name]
        return self._manager.subset_hook_caller(hook, [*others, *without])


def is_wrapper(impl: pluggy.HookImpl) -> bool:
    """Whether it wraps the implementations of others, in either of pluggy's two styles."""
    return impl.wrapper or impl.hookwrapper


def _guilty_wrapper(error: BaseException, caller: pluggy.HookCaller) -> pluggy.HookImpl | None:
    """The wrapper that raised ``error`` in a call of ``caller``, None if it was not a wrapper.

    pluggy does not say who raised. Who did is innermost in the traceback; wrappers that only let
    the error through are in it too.
    """
    impls = caller.get_hookimpls()
    found = None
    traceback = error.__traceback__
    while traceback is not None:
        found = next((impl for impl in impls if _runs(impl, traceback.tb_frame)), found)
        traceback = traceback.tb_next
    if found is None and isinstance(error, RuntimeError):  # a wrapper without a yield, or with two
        for impl in filter(is_wrapper, impls):
            code = getattr(impl.function, "__code__", None)
            if code and f" {code.co_filename}:{code.co_firstlineno} " in str(error):
                return impl
    return found if found is not None and is_wrapper(found) else None


def _runs(impl: pluggy.HookImpl, frame: FrameType) -> bool:
    code = frame.f_code
    if getattr(impl.function, "__code__", None) is not code:
        return False
    owner = getattr(impl.function, "__self__", None)  # two plugins may be of one class
    return owner is None or owner is frame.f_locals.get(code.co_varnames[0])
