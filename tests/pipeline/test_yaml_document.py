import json
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.yaml_document import MAX_NODES, Mark, parse_yaml, read_yaml, star_out


def problem(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "a.yaml")
    return caught.value


def test_values_are_plain_and_every_key_and_value_has_its_place():
    document = parse_yaml("a: 1\nb:\n  - {c: 'x'}\n  - 2.5\n", "a.yaml")
    assert document.value == {"a": 1, "b": ({"c": "x"}, 2.5)}
    assert document.keys["a",] == Mark(1, 1)
    assert document.keys["b", 0, "c"] == Mark(3, 6)
    assert document.values["b", 0, "c"] == Mark(3, 9, "'")
    assert document.values["b", 1] == Mark(4, 5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("0123", 123),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("2026-11-24", "2026-11-24"),
        ("12:30", "12:30"),
        ("'5'", "5"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object):
    read = parse_yaml(f"a: {text}\n", "a.yaml").value["a"]
    assert (read, type(read)) == (value, type(value))


# YAML's keys end at 1,024 characters, and JSON writes up to 12 for one of the text's.
json_keys = st.text(min_size=1, max_size=80)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_keys, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(json_values)
def test_json_is_read_as_json_says(value: object):
    read = parse_yaml(json.dumps(value), "a.yaml").value
    assert json.loads(json.dumps(read)) == value


@settings(deadline=None)
@given(st.text())
def test_no_text_does_anything_but_parse_or_raise_a_config_error(text: str):
    with suppress(ConfigError):
        parse_yaml(text, "a.yaml")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "a.yaml:4:3", "key `c` is here twice; the first is on line 3"),
        ("a:\n\tb: 1\n", "a.yaml:2:1", "found character '\\t'"),
        ("a: b: c\n", "a.yaml:1:5", "mapping values are not allowed"),
        ("a: !!python/object:os.system x\n", "a.yaml:1:4", "tag"),
        ("a: !include x\n", "a.yaml:1:4", "tag"),
        ("a: &x [*x]\n", "a.yaml:1:8", "alias `*x` names no finished anchor"),
        ("a: *nothing\n", "a.yaml:1:4", "alias `*nothing`"),
        ("x: &x {a: 1}\nb:\n  <<: *x\n", "a.yaml:3:3", "merge keys"),
        ("---\na: 1\n---\nb: 1\n", "a.yaml:3:1", "a second document"),
        ("{[a]: 1}\n", "a.yaml:1:2", "a key must be one word"),
        ("a: \x01\n", "a.yaml:1:4", "character U+0001"),
        ("[" * 100, "a.yaml:1:33", "nested deeper than 32 levels"),
    ],
)
def test_what_is_not_strict_yaml_is_refused_where_it_stands(text: str, position: str, message: str):
    error = problem(text)
    assert error.position == position
    assert message in error.message
    assert error.hint


def test_a_tab_is_named_in_the_hint():
    assert "tab" in problem("a:\n\tb: 1\n").hint


def test_an_alias_may_stand_for_a_value():
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", "a.yaml").value == {"a": (1, 2), "b": (1, 2)}


def test_an_alias_bomb_is_refused_before_it_grows():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    started = time.perf_counter()
    error = problem("\n".join(["l0: &l0 [" + ", ".join("x" * 9) + "]", *levels]))
    assert "aliases" in error.message
    assert error.line < 10
    assert time.perf_counter() - started < 5


def test_more_values_than_the_limit_are_refused():
    assert f"{MAX_NODES:,}" in problem("[" + "1," * (MAX_NODES + 1) + "]").message


def test_files_that_cannot_be_read_are_config_errors(tmp_path):
    for name, content, message in (
        ("latin1.yaml", "a: 1\nb: ü\n".encode("latin-1"), "is not UTF-8"),
        ("large.yaml", b"#" * (1 << 20) + b"#", "is over"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            read_yaml(path)
        assert caught.value.file == str(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


def test_the_place_of_bad_utf_8_is_given(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert (caught.value.line, caught.value.column) == (2, 4)


@pytest.mark.parametrize("line", ["ssl_password: hunter2", "{a: 1, 'api_token': \"hunter2\"}", "Secret=hunter2"])
def test_secrets_are_starred_out(line: str):
    starred = star_out(line)
    assert "hunter2" not in starred
    assert len(starred) == len(line)


def test_where_a_secret_is_kept_is_no_secret():
    assert star_out("ssl_password_file: /run/key") == "ssl_password_file: /run/key"


def test_a_syntax_error_never_quotes_a_secret():
    assert "hunter2" not in str(problem("password: hunter2: x\n"))
    assert "hunter2" not in str(problem("password: |\n  a\n hunter2: 1\n"))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("url: https://me:pw@host.example/T0/B0", "url: https://******host.example******"),
        ("- {url: 'https://a.example:8443/x?y=z', name: a}", "- {url: 'https://a.example:8443******', name: a}"),
        ("signing_key: abc", "signing_key: ***"),
        ("signing_key_env: ABC", "signing_key_env: ABC"),
    ],
)
def test_a_web_address_is_quoted_without_what_may_be_a_secret(line: str, shown: str):
    assert star_out(line) == shown
