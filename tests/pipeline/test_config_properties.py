from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.config import Config, Duration, Size, config_from
from longwatch.pipeline.config.root import write_yaml
from longwatch.pipeline.yaml_document import parse_yaml

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
name = st.text("abcXYZ019._-", min_size=1, max_size=12)
duration = st.integers(1, 10**9).map(Duration).map(str)
count = st.integers(1, 1000)
field = st.text("abcXYZ_-", min_size=1, max_size=6)
paths = st.lists(field, min_size=1, max_size=3, unique=True)

threshold = st.one_of(
    st.fixed_dictionaries({"score": st.floats(-1e6, 1e6)}),
    st.fixed_dictionaries({"quantile": st.floats(0.001, 0.999)}),
    st.fixed_dictionaries({"false_alarms_per_day": st.floats(0.001, 1e6)}),
)
limits = st.one_of(
    st.fixed_dictionaries({"event": threshold}, optional={"window": threshold}),
    st.fixed_dictionaries({"window": threshold}),
)
rule = st.builds(
    lambda limits, name, match: {**limits, "name": f"rule-{name}", "match": match},
    limits,
    name,
    st.fixed_dictionaries({}, optional={"entity": text, "source": text}),
)
source = st.one_of(
    st.fixed_dictionaries({"files": st.fixed_dictionaries({"paths": paths})}),
    st.fixed_dictionaries({"stdin": st.fixed_dictionaries({}, optional={"name": name})}),
)
format_ = st.one_of(
    st.just({"otel": {}}),
    st.fixed_dictionaries(
        {"json": st.fixed_dictionaries({"message": st.sampled_from(["{a.b} {c}", "{{x}} {a}", "fest"])})}
    ),
)
mask = st.fixed_dictionaries(
    {
        "pattern": st.sampled_from([r"\d+", "x'y", 'x"y', "a: b #c", "[é]+", "\\t+", "yes", "0x1f", "1e5", "~"]),
        "name": text,
    }
)
configurations = st.fixed_dictionaries(
    {
        "pipeline": name,
        "source": source,
        "format": format_,
        "entity": st.one_of(
            st.fixed_dictionaries({"field": field}),
            st.fixed_dictionaries({"pattern": st.just("(?P<entity>\\S+)"), "in": st.sampled_from(["line", "message"])}),
        ),
        "sink": st.fixed_dictionaries(
            {"embedded": st.fixed_dictionaries({}, optional={"file": field, "stdout": st.booleans()})}
        ),
    },
    optional={
        "templates": st.fixed_dictionaries(
            {
                "masks": st.lists(mask, max_size=3, unique_by=lambda each: tuple(sorted(each.items()))),
                "merge_above": count,
            }
        ),
        "windows": st.fixed_dictionaries(
            {"idle_gap": duration}, optional={"idle_timeout": duration, "max_events": count}
        ),
        "thresholds": st.fixed_dictionaries(
            {"rules": st.lists(rule, max_size=3, unique_by=lambda rule: rule["name"])}, optional={"default": limits}
        ),
        "alerts": st.fixed_dictionaries({"top_events": st.integers(0, 100), "include_lines": st.booleans()}),
        "bundle": field,
    },
)


def loaded(text: str) -> Config:
    return config_from(parse_yaml(text, "generated.yaml"), Path("/config"))


@settings(deadline=None)
@given(configurations)
def test_a_dumped_configuration_loads_to_an_equal_one_with_the_same_digest(value: dict[str, object]):
    config = loaded(write_yaml(value))
    again = loaded(config.to_yaml())
    assert again == config
    assert again.digest == config.digest
    assert again.to_yaml() == config.to_yaml()


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_a_duration_is_read_as_it_is_shown(milliseconds: int):
    assert Duration.parse(str(Duration(milliseconds))) == Duration(milliseconds)


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_a_size_is_read_as_it_is_shown(size: int):
    assert Size.parse(str(Size(size))) == Size(size)


@settings(deadline=None)
@given(
    st.recursive(
        text | st.integers() | st.none(), lambda inner: st.dictionaries(text, inner, max_size=4), max_leaves=12
    )
)
def test_written_yaml_says_what_it_was_given(value: object):
    assert parse_yaml(write_yaml(value), "generated.yaml").value == value
