"""Shows nnU-Net the classes of nnunet_ms. Runs at every start of Python, so it does next to nothing.

Installed beside the package, not inside nnU-Net (pyproject.toml, `force-include`), with a start-up file that calls
`install`. Nothing is imported until nnU-Net itself imports its look-up function, wherever that nnU-Net lies: in the
same folder, in an editable checkout, in the base environment below a virtual one. Then the function is wrapped: for a
class of ours it answers at once, for every other name nnU-Net walks its folders as before. Where the program that
starts is a command of this package, Ctrl-C gives one line from here on.
"""

import sys

LOOKUP = "nnunetv2.utilities.find_class_by_name"
FUNCTION = "recursive_find_python_class"


class Finder:
    """Waits in `sys.meta_path` for nnU-Net's look-up module and steps aside for every other."""

    def find_spec(self, name, path=None, target=None):
        """Return the module's own spec, with the loader told to wrap the look-up function; None for other names."""
        if name != LOOKUP:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                if module.__name__ == LOOKUP:  # a loader of an archive serves other modules too
                    wrap(module)

            spec.loader.exec_module = exec_module
        return spec


def wrap(module):
    """Let the look-up function of an imported module answer for our classes first."""
    walk = getattr(module, FUNCTION)
    if getattr(walk, "nnunet_ms", False):
        return

    def recursive_find_python_class(folder, class_name, current_module, *args, **kwargs):
        from nnunet_ms.doors.classes import our_class

        ours = our_class(class_name, current_module)
        return walk(folder, class_name, current_module, *args, **kwargs) if ours is None else ours

    recursive_find_python_class.__doc__ = walk.__doc__
    recursive_find_python_class.__wrapped__ = walk
    recursive_find_python_class.nnunet_ms = True
    for other in [m for name, m in list(sys.modules.items()) if name.startswith("nnunetv2")]:
        if getattr(other, FUNCTION, None) is walk:  # imported it before us
            setattr(other, FUNCTION, recursive_find_python_class)
    setattr(module, FUNCTION, recursive_find_python_class)


def install():
    """Wait for nnU-Net, and for Ctrl-C where a command of ours starts; a second call changes nothing."""
    if LOOKUP in sys.modules:
        wrap(sys.modules[LOOKUP])
    elif not any(type(finder).__name__ == "Finder" and finder.__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    command = sys.orig_argv[1].rpartition("/")[2] if len(sys.orig_argv) > 1 else ""
    if command.startswith("nnunet-ms-") and getattr(sys.excepthook, "nnunet_ms", None) is None:
        one_line(command)


def one_line(command):
    """Let Ctrl-C while a command is being imported end in one line and exit code 130; later the command sees to it."""
    usual = sys.excepthook

    def tell(kind, error, trace):
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        import os

        sys.stderr.write(f"{command}: interrupted. Repeat the command to start again.\n")
        sys.stderr.flush()
        os._exit(130)  # the interpreter itself would end by the signal

    tell.nnunet_ms = True
    sys.excepthook = tell
