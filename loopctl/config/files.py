"""Configs as TOML, JSON or YAML files.

A file holds one table per action, with ``cond`` and the branches ``true`` and ``false``, and under
``async`` one table per async action. Text stands for what can't be written otherwise:

- ``package.module.name``: that object is imported. A config file is code, as a Python module is.
- a callable that is made of settings, such as the objective of a preset, is a table of
  ``class_name``, with dots, and ``config``.
- elsewhere, ``cond`` is a graph predicate, ``learning_rate`` a number of `loopctl.when`, ``loss``
  and ``optimizer`` name Keras', variables and layers are globs; losses, optimizers and schedules
  with settings are Keras' own serialized form, a table of ``class_name`` and ``config``.

``loopctl/config.schema.json`` describes the format to editors.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tomlkit

from loopctl.config.dicts_to_plan import parse
from loopctl.config.dotted_names import is_dotted, name_of, resolve
from loopctl.config.errors import ConfigError, place
from loopctl.config.made_objects import is_made, is_table, made, table_of
from loopctl.config.predicate_text import parse as parse_predicate
from loopctl.config.predicate_text import parse_value
from loopctl.config.predicates import Expression
from loopctl_shared import how_to_install, write_whole

ASYNC = "async"  # a keyword of Python, hence never the name of an action
_BRANCHES = {"true": True, "false": False}
_SERIALIZED = (
    keras.losses.Loss,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
)
_CALLABLES = (
    *("objective", "regularize", "inference", "variables", "excluded_variables", "gradients"),
    *("model", "callback"),
)


def load_config(path: str | Path) -> dict[str, Any]:
    """The config that a ``.toml``, ``.json``, ``.yaml`` or ``.yml`` file holds.

    Its table ``async`` is left to `load_async_config`.

    Raises:
        ConfigError: the file can't be read or is no valid config; names the file and the place.
        ImportError: YAML needs pyyaml, of the extra ``files``.
    """
    found, _ = _load(Path(path))
    return found


def load_async_config(path: str | Path) -> dict[str, Any]:
    """The async config that such a file holds; empty if there is none.

    Raises:
        ConfigError, ImportError: as `load_config`.
    """
    _, found = _load(Path(path))
    return found


def save_config(
    config: Mapping[str, Any], path: str | Path, async_config: Mapping[str, Any] | None = None
) -> None:
    """Writes a config to a file, from which `load_config` reads its equal.

    Raises:
        ConfigError: it is not valid, or holds what has no name, such as a lambda.
        ImportError: YAML needs pyyaml, of the extra ``files``.
    """
    parse(config, async_config)
    path = Path(path)
    document: dict[str, Any] = {
        name: {
            _key(key): _written(key, value, place(name, key))
            if key == "cond"
            else {k: _written(k, v, place(name, key, k)) for k, v in value.items()}
            for key, value in action.items()
        }
        for name, action in config.items()
    }
    if async_config:
        document[ASYNC] = {
            name: {k: _written(k, v, place(name, k, root="async_config")) for k, v in entry.items()}
            for name, entry in async_config.items()
        }
    write_whole(path, _format(path).write(document))


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        document = _format(path).read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} contains {document!r}: a table of actions is needed")
    extra = document.pop(ASYNC, None) or {}
    try:
        config = {name: _action(name, action) for name, action in document.items()}
        async_config = {name: _async(name, entry) for name, entry in extra.items()}
        parse(config, async_config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config, async_config


def _action(name: str, action: Any) -> Any:
    if not isinstance(action, dict):
        return action  # told by `parse`
    read: dict[Any, Any] = {}
    for key, value in action.items():
        branch = _BRANCHES.get(str(key).lower(), key)
        if isinstance(branch, bool) and isinstance(value, dict):
            value = {k: _value(k, v, place(name, branch, k)) for k, v in value.items()}
        elif key == "cond":
            value = _condition(value, place(name, "cond"))
        read[branch] = value
    return read


def _async(name: str, entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    read = {}
    for key, value in entry.items():
        where = place(name, key, root="async_config")
        read[key] = (
            _condition(value, where) if key in ("cond", "step") else _value(key, value, where)
        )
    return read


def _condition(value: Any, where: str, read: Callable[..., Any] = parse_predicate) -> Any:
    if is_table(value):
        return made(value, where)
    if not isinstance(value, str):
        return value
    plain = value.removeprefix("when.").isidentifier()  # such as when.always
    return resolve(value, where) if is_dotted(value) and not plain else read(value, where=where)


def _value(key: str, value: Any, where: str) -> Any:
    if key in (*_CALLABLES, "loss", "ascend") and is_table(value):
        return made(value, where)
    if key == "optimizer" and isinstance(value, dict) and "class_name" not in value:
        return {k: _value(key, v, f"{where}[{k!r}]") for k, v in value.items()}
    if key in _CALLABLES or key in ("loss", "optimizer"):
        if is_dotted(value):
            return resolve(value, where)
        if key == "loss" and isinstance(value, dict) and "class_name" in value:
            return _deserialized(value, where)
        if key == "loss" and isinstance(value, dict):
            return {k: _value(key, v, f"{where}[{k!r}]") for k, v in value.items()}
        if key == "loss" and isinstance(value, list):
            return [_value(key, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if key == "ascend":
        return _condition(value, where, parse_value)
    if key == "per_example" and isinstance(value, dict):
        return {k: _condition(v, f"{where}[{k!r}]", parse_value) for k, v in value.items()}
    if key == "loss_weights":
        return _weights(value, where)
    if key == "learning_rate":
        return _rate(value, where)
    if key == "average" and isinstance(value, dict):
        return {k: _of_average(k, v, f"{where}[{k!r}]") for k, v in value.items()}
    return tuple(value) if key == "clipping" and isinstance(value, list) else value


def _weights(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {k: _weights(v, f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list):
        return [_weights(v, f"{where}[{i}]") for i, v in enumerate(value)]
    return _condition(value, where, parse_value)


def _rate(value: Any, where: str) -> Any:
    if isinstance(value, dict) and "class_name" in value:
        try:
            return keras.optimizers.schedules.deserialize(value)
        except (ValueError, TypeError) as error:
            raise _unreadable(value, where, error) from error
    if isinstance(value, dict):
        return {k: _rate(v, f"{where}[{k!r}]") for k, v in value.items()}
    return _condition(value, where, parse_value)


def _of_average(key: str, value: Any, where: str) -> Any:
    if key == "start":
        return _condition(value, where)
    if is_table(value):
        return made(value, where)
    return resolve(value, where) if is_dotted(value) else value


def _deserialized(value: dict[str, Any], where: str) -> Any:
    try:
        return keras.losses.deserialize(value)
    except (ValueError, TypeError) as error:
        raise _unreadable(value, where, error) from error


def _unreadable(value: Any, where: str, error: Exception) -> ConfigError:
    return ConfigError(f"{where} is {value!r}, which Keras can't read: {error}")


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _written(key: str, value: Any, where: str) -> Any:
    """A value as plain tables, lists, text and numbers."""
    if isinstance(value, Expression):
        return repr(value)
    if value is None:
        return False  # TOML has no null; both mean no data loss
    if isinstance(value, keras.layers.Layer):
        return value.name
    if key == "average":
        value = {k: v for k, v in value.items() if v is not None}
        return {k: _written("", v, f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, keras.Variable | tf.Variable):
        raise ConfigError(
            f"{where} is the variable {value.name!r}, which has no name that could be written"
        )
    if isinstance(value, Mapping):
        return {str(k): _written(key, v, f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_written(key, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, _SERIALIZED):
        return serialized(value, where)
    if is_made(value):
        return table_of(value, where)
    return name_of(value, where) if callable(value) else value


def serialized(thing: Any, where: str) -> dict[str, Any]:
    """A loss, an optimizer or a schedule in Keras' serialized form, if that tells everything.

    Raises:
        ConfigError: it leaves something out.
    """
    config = thing.get_config()
    # Private: what a loss of Keras calls its function with, such as Huber's delta, is told nowhere
    # else. tests/loopctl/config/test_files.py notices if it moves.
    kept: dict[str, Any] = getattr(thing, "_fn_kwargs", {})
    parameters = inspect.signature(type(thing)).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    left_out = sorted(named - config.keys() - kept.keys() - {"dtype"})
    if left_out:
        raise ConfigError(
            f"{where} is a {type(thing).__name__}, whose {' and '.join(left_out)} Keras does not "
            "report: create it at the top level of a module and give its dotted name"
        )
    makers = (keras.losses, keras.optimizers, keras.optimizers.schedules)
    kinds = [m for base, m in zip(_SERIALIZED, makers, strict=True) if isinstance(thing, base)]
    form = kinds[0].serialize(thing)
    form["config"] |= {name: kept[name] for name in named & kept.keys()}
    plain: dict[str, Any] = json.loads(json.dumps(_without_none(form)))
    return plain


def _without_none(value: Any) -> Any:
    """Settings that are None are left out: TOML has no null, and None is Keras' default."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


class _Json:
    read = staticmethod(json.loads)

    @staticmethod
    def write(document: Any) -> str:
        return json.dumps(document, indent=2) + "\n"


class _Toml:
    read = staticmethod(tomllib.loads)

    @staticmethod
    def write(document: Any) -> str:
        return tomlkit.dumps(document)


class _Yaml:
    @staticmethod
    def read(text: str) -> Any:
        yaml = _yaml()
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(error) from error

    @staticmethod
    def write(document: Any) -> str:
        written: str = _yaml().safe_dump(document, sort_keys=False)
        return written


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f"YAML needs pyyaml, which is not installed: {how_to_install('files')}"
        ) from error
    return yaml


_FORMATS: dict[str, Any] = {".toml": _Toml, ".json": _Json, ".yaml": _Yaml, ".yml": _Yaml}


def _format(path: Path) -> Any:
    if path.suffix not in _FORMATS:
        raise ConfigError(f"{path} has an unknown format: allowed are {', '.join(_FORMATS)}")
    return _FORMATS[path.suffix]
