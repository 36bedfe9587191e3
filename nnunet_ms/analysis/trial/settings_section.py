"""One section of a settings file: every key is asked for by name and kind, and a key nobody asked for is refused."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_ms.errors import SettingsError


class Section:
    """One table of the file; remembers which keys were asked for, so that the others can be refused."""

    def __init__(self, path: Path, name: str, values: object) -> None:
        self.path, self.name = path, name
        if not isinstance(values, dict):
            raise SettingsError(
                f"{path}: expected a section [{name}], found {values!r}. Write [{name}] on its own line."
            )
        self.values: Mapping[str, object] = values
        self.known: list[str] = []

    def get(self, key: str, expected: str, required: bool = True) -> object:
        """Return a key's value; None where it is absent and not required."""
        self.known.append(key)
        if required and key not in self.values:
            raise SettingsError(
                f"{self.path}: [{self.name}] needs {key} ({expected}), found {list(self.values)}. Add it."
            )
        return self.values.get(key)

    def text(self, key: str) -> str:
        """Return a text that must be there and not blank."""
        value = self.get(key, "text")
        return str(self.check(key, value, "text in quotes", isinstance(value, str) and value != ""))

    def optional_text(self, key: str) -> str | None:
        """Return a text, None where it is absent."""
        return self.text(key) if self.get(key, "text", required=False) is not None else None

    def texts(self, key: str, default: tuple[str, ...] | None = None, none: bool = False) -> tuple[str, ...]:
        """Return a list of texts, or one text as a list of one; required where there is no `default`.

        With `none` the list may be empty.
        """
        value = self.get(key, "a list of texts", required=default is None)
        if value is None:
            return default or ()
        values = [value] if isinstance(value, str) else value
        good = isinstance(values, list) and bool(values or none) and all(isinstance(v, str) and v for v in values)
        self.check(key, value, 'a list such as ["a", "b"]', good)
        return tuple(values) if isinstance(values, list) else ()

    def numbers(self, key: str, single: bool = False, default: float | None = None) -> tuple[float, ...]:
        """Return a list of numbers, or with `single` one of them; required where there is no `default`."""
        value = self.get(key, "weeks", required=default is None)
        if value is None and default is not None:
            return (default,)
        values: list[object] = [value] if single else value if isinstance(value, list) else []
        good = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        expected = "a number" if single else "a list such as [24, 48, 96]"
        self.check(key, value, expected, 0 < len(good) == len(values))
        return tuple(good)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.get(key, "true or false")
        return bool(self.check(key, value, "true or false", isinstance(value, bool)))

    def choice(self, key: str, among: Sequence[str], required: bool = False) -> str | None:
        """Return one of the names in `among`; None where it is absent and not required."""
        value = self.get(key, f"one of {list(among)}", required)
        if value is None:
            return None
        return str(self.check(key, value, f"one of {list(among)}", value in among))

    def inner(self, key: str) -> Mapping[str, object]:
        """Return the section [name.key] within this one; empty where it is absent."""
        value = self.get(key, f"a section [{self.name}.{key}]", required=False)
        self.check(key, value, f"a section [{self.name}.{key}]", value is None or isinstance(value, dict))
        return value if isinstance(value, dict) else {}

    def inner_names(self) -> list[str]:
        """Return the names of all sections within this one."""
        return [key for key in self.values if isinstance(self.values[key], dict)]

    def check(self, key: str, value: object, expected: str, good: bool) -> object:
        """Return `value`, or raise SettingsError that names the key where it is not `good`."""
        if not good:
            raise SettingsError(
                f"{self.path}: [{self.name}] {key}: expected {expected}, found {value!r}. Correct the settings."
            )
        return value

    def refuse_unknown(self) -> None:
        """Raise SettingsError for a key that nobody asked for."""
        for key in self.values:
            if key not in self.known:
                raise SettingsError(
                    f"{self.path}: [{self.name}] has an unknown key {key!r}; known are {self.known}."
                    f"{did_you_mean(key, self.known)}"
                )


def read_sections(path: Path, names: Sequence[str]) -> dict[str, Section]:
    """Read the file; a section that it lacks is empty, one that is not in `names` is refused."""
    if not path.is_file():
        raise SettingsError(f"{path}: no such settings file. Write one with: nnunet-ms-endpoints init {path.name}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a TOML file in UTF-8, cannot read it ({error}). Correct it.") from error
    for name in content:
        if name not in names:
            raise SettingsError(
                f"{path}: unknown section [{name}]; known are {list(names)}.{did_you_mean(name, names)}"
            )
    return {name: Section(path, name, content.get(name, {})) for name in names}


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the next step for an unknown word."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]}?" if close else " Remove it."
