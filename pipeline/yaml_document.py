"""Strict YAML: plain values with the line and column of every key and value, and nothing that can blow up."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from longwatch.pipeline.errors import ConfigError

Scalar = str | int | float | bool | None
Location = tuple[str | int, ...]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 20_000

_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]{1,100}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?\Z")
_SECRET_KEY = re.compile(
    r"[\w.-]*(?:password|passphrase|secret|token|api_?key|signing_?key|pseudonym_?key)[\w.-]*", re.IGNORECASE
)
_SECRET_PLACE = re.compile(rf"(?P<key>{_SECRET_KEY.pattern})[\"']?\s*[:=]\s*", re.IGNORECASE)
_SECRET_LINE = re.compile(rf"(?P<key>{_SECRET_KEY.pattern})[\"']?\s*[:=]\s*(?P<value>.*)\Z", re.IGNORECASE)
# A web address may hold a password before its host, and a webhook's path is a secret by itself.
_SECRET_ADDRESS = re.compile(
    r"(?P<scheme>https?://)(?P<user>[^\s/\"'@]+@)?(?P<host>[^\s/\"'?#]*)(?P<rest>[^\s\"',}\]]*)"
)


@dataclass(frozen=True)
class Mark:
    """Where a key or value starts, both counted from 1; `quote` is its YAML style: '' plain, ' or " quoted, | or >."""

    line: int
    column: int
    quote: str = ""


@dataclass(frozen=True)
class YamlDocument:
    """`value` in plain str, int, float, bool, None, tuple and dict; marks by path, such as `("windows", "overlap")`."""

    file: str
    text: str
    value: Any
    keys: Mapping[Location, Mark]
    values: Mapping[Location, Mark]

    def key_mark(self, location: Location) -> Mark:
        """The mark of the key, of the item in a sequence, or of the nearest thing around it that the file has."""
        while location and location not in self.keys:
            location = location[:-1]
        return self.keys.get(location, Mark(1, 1))

    def value_mark(self, location: Location) -> Mark:
        """The mark of the value, or of the nearest key around it that the file has."""
        return self.values.get(location) or self.key_mark(location)

    def error(self, message: str, hint: str, mark: Mark) -> ConfigError:
        """A `ConfigError` at that mark, with the line quoted and any password in it starred out."""
        return _error(self.file, self.text, message, hint, mark.line, mark.column)


def read_yaml(path: Path) -> YamlDocument:
    """The document of a file of at most 1 MiB; ConfigError when it cannot be read or is not strict YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("no such file", "`longwatch init` writes one to start from", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"is over {MAX_BYTES:,} bytes", "a configuration is a few kilobytes", file=str(path))
    return parse_yaml(_decode(content, str(path)), str(path))


def parse_yaml(text: str, file: str) -> YamlDocument:
    """The document of a text; `file` is what errors call it."""
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    builder = _Builder(file, text)
    try:
        value = builder.build(_events(text))
    except MarkedYAMLError as error:
        raise _syntax_error(file, text, error) from None
    except ReaderError as error:
        message = f"not YAML: character U+{ord(text[error.position]):04X} is not allowed"
        raise _error(file, text, message, "remove it", *_line_and_column(text, error.position)) from None
    return YamlDocument(file, text, value, MappingProxyType(builder.keys), MappingProxyType(builder.values))


def is_secret(key: str) -> bool:
    """Whether a key's value is a secret: password, token and the like, but not `*_file` and `*_env`."""
    return _SECRET_KEY.search(key) is not None and not key.lower().endswith(("_file", "_env"))


def star_out(line: str) -> str:
    """The line with stars for what follows a password-like key (not `_file`, `_env`) and for a URL but its host."""
    line = _SECRET_ADDRESS.sub(_starred_address, line)
    match = next((each for each in _SECRET_PLACE.finditer(line) if is_secret(each["key"])), None)
    return line if match is None else line[: match.end()] + "*" * (len(line) - match.end())


def _starred_address(match: re.Match[str]) -> str:
    stars = {name: "*" * len(match[name] or "") for name in ("user", "rest")}
    return f"{match['scheme']}{stars['user']}{match['host']}{stars['rest']}"


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise ConfigError("is not UTF-8", "save it as UTF-8", file=file, line=line, column=column) from None


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True
    return iter(yaml.parse(text))


def _syntax_error(file: str, text: str, error: Any) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = mark.line + 1, mark.column + 1
    hint = "indent with spaces and quote text that holds `: `, ` #` or starts with `{[*&!|>'\"%@`"
    if "\t" in _line(text, line)[:column]:
        hint = "there is a tab before this place: indent with spaces"
    return _error(file, text, f"not YAML: {error.problem or error.context}", hint, line, column)


def _line(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _error(file: str, text: str, message: str, hint: str, line: int, column: int) -> ConfigError:
    # A block of text stands on the lines below its key, so nothing is quoted below a secret key without a value.
    hidden = any(_opens_secret(above) for above in text.splitlines()[: line - 1])
    quoted = "" if hidden else star_out(_line(text, line))
    return ConfigError(message, hint, file=file, line=line, column=column, source_line=quoted)


def _opens_secret(line: str) -> bool:
    match = _SECRET_LINE.search(line)
    return match is not None and is_secret(match["key"]) and match["value"].strip(" |>+-") == ""


def plain_value(text: str) -> Scalar:
    """What an unquoted scalar means in YAML 1.2: null, true/false, a number, else the text itself."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


@dataclass
class _Open:
    """A mapping or sequence whose end has not been read; `key` is the key that waits for its value."""

    location: Location
    items: dict[str, Any] | list[Any]
    mark: Mark
    anchor: str | None
    key: str | None = None


@dataclass
class _Builder:
    """Turns parser events into values, without recursion, counting what aliases would expand to."""

    file: str
    text: str
    keys: dict[Location, Mark] = field(default_factory=dict)
    values: dict[Location, Mark] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Any] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0
    root: Any = None

    def build(self, events: Iterator[Any]) -> Any:
        handlers = {
            "DocumentStartEvent": self.start_document,
            "ScalarEvent": self.take_scalar,
            "AliasEvent": self.take_alias,
            "MappingStartEvent": lambda event: self.open(event, {}),
            "SequenceStartEvent": lambda event: self.open(event, []),
            "MappingEndEvent": self.close,
            "SequenceEndEvent": self.close,
        }
        for event in events:
            if handler := handlers.get(type(event).__name__):
                handler(event)
        return self.root

    def start_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.fail("a second document starts here", "keep one document to a file", _mark(event))

    def take_scalar(self, event: Any) -> None:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1, event.style or "")
        self.refuse_tag(event, mark)
        if self.waits_for_key():
            self.take_key(event.value, mark)
        else:
            value = event.value if event.style or event.tag else plain_value(event.value)
            self.put(value, mark, event.anchor)

    def take_alias(self, event: Any) -> None:
        mark = _mark(event)
        if self.waits_for_key():
            self.fail("an alias cannot be a key", "write the key out", mark)
        if event.anchor not in self.anchors:
            self.fail(f"alias `*{event.anchor}` names no finished anchor", "write the value out", mark)
        value = self.anchors[event.anchor]
        self.count(_size(value) - 1, mark)
        self.put(value, mark, None)

    def open(self, event: Any, items: dict[str, Any] | list[Any]) -> None:
        mark = _mark(event)
        self.refuse_tag(event, mark)
        if self.waits_for_key():
            self.fail("a key must be one word", "quote it if it starts with `{` or `[`", mark)
        if len(self.stack) >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels", "no key of longwatch is that deep", mark)
        self.stack.append(_Open(self.location(), items, mark, event.anchor))

    def close(self, event: Any) -> None:
        del event
        done = self.stack.pop()
        self.put(tuple(done.items) if isinstance(done.items, list) else done.items, done.mark, done.anchor)

    def waits_for_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].items, dict) and self.stack[-1].key is None

    def location(self) -> Location:
        if not self.stack:
            return ()
        top = self.stack[-1]
        return (*top.location, len(top.items) if isinstance(top.items, list) else str(top.key))

    def take_key(self, key: str, mark: Mark) -> None:
        top = self.stack[-1]
        if key == "<<":
            self.fail("merge keys are not supported", "write the keys out", mark)
        if key in top.items:
            first = self.keys[*top.location, key].line
            self.fail(f"key `{key}` is here twice; the first is on line {first}", "keep one of them", mark)
        top.key = key
        self.keys[*top.location, key] = mark

    def put(self, value: Any, mark: Mark, anchor: str | None) -> None:
        self.count(1, mark)
        location = self.location()
        self.values[location] = mark
        if anchor:
            self.anchors[anchor] = value
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.items, list):
            self.keys[location] = mark
            top.items.append(value)
        else:
            top.items[str(top.key)] = value
            top.key = None

    def count(self, nodes: int, mark: Mark) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.fail(f"more than {MAX_NODES:,} values once aliases are written out", "use fewer aliases", mark)

    def refuse_tag(self, event: Any, mark: Mark) -> None:
        tag = str(event.tag or "")
        if tag and tag not in ("!", "tag:yaml.org,2002:str"):
            self.fail(f"tag `{tag}` is not allowed", "write the value without a tag", mark)

    def fail(self, message: str, hint: str, mark: Mark) -> NoReturn:
        raise _error(self.file, self.text, message, hint, mark.line, mark.column)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(item) for item in value.values())
    return 1 + sum(_size(item) for item in value) if isinstance(value, tuple) else 1
