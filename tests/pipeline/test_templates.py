import os
import subprocess
import sys
from itertools import permutations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.model.scorer import template_id
from longwatch.pipeline.template_kernel import LEAF_BYTES
from longwatch.pipeline.template_leaves import leaves
from longwatch.pipeline.template_masks import Masks
from longwatch.pipeline.templates import MATCH_SCHEMA, TemplateMatcher, TemplateSet
from support.datasets import dataset
from support.parsing import grouping_accuracy, hdfs_messages, loghub_samples


def leaf(message, masks=()):
    return leaves(pl.Series([message]), masks)[0]


def match(template_set, *messages):
    return TemplateMatcher(template_set).match(pl.Series(messages, dtype=pl.String))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("took 12 ms", "took <*>"),
        ("took 12 tries", "took <*> tries"),
        ("12 bytes (3.1 KB) sent, 0 bytes received", "<*> sent, <*> received"),
        ("session opened for user root by (uid=0)", "session opened for user <*> by (uid=<*>)"),
        ("user", "user"),
        ("connection from 10.0.0.1 () at Sun Jul 10 2005", "connection from <*> at <*>"),
        ("init() of Sunday", "init() of Sunday"),
        ("block blk_-160 served", "block <*> served"),
        ("from 10.0.0.1:5000 to /10.0.0.2:80", "from <*> to <*>"),
        ("id 6f1e0b1c-9d5f-4a53-b5a1-0c6b4c1f2a3b gone", "id <*> gone"),
        ("open /var/log/messages failed", "open <*> failed"),
        ("open C:\\Windows\\Temp failed", "open C:<*> failed"),
        ("user=root uid= tty=ssh", "user=<*> uid= tty=<*>"),
        ("mail to alice@example.org bounced", "mail to <*> bounced"),
        ("proxy.example.org:8080 closed", "<*> closed"),
        ("nodes 1, 2, 3 left", "nodes <*> left"),
        ("  a \t b\n", "a b"),
        ("", ""),
    ],
)
def test_what_varies_becomes_one_wildcard_and_words_stay(message, expected):
    assert leaf(message) == expected


def test_masks_of_the_user_come_first():
    assert leaf("job alpha-beta done", [r"alpha-\w+"]) == "job <*> done"


@pytest.mark.parametrize("pattern", ["(", r"\d*", "(?=x)"])
def test_a_mask_that_cannot_work_is_refused(pattern):
    with pytest.raises(ValueError, match="mask"):
        Masks((pattern,))


def test_an_endless_message_has_a_bounded_leaf():
    assert len(leaf("word " * 10_000)) <= LEAF_BYTES


NAMES = ["ann", "bob", "cyd", "dan", "eve", "fay"]
SESSIONS = [f"session opened for {name}" for name in NAMES]
MERGED = "session opened for <*>"


def test_more_words_than_merge_above_at_one_place_are_one_template():
    matched = match(TemplateSet.learn(SESSIONS, merge_above=5), *SESSIONS)
    assert matched["template"].to_list() == ["session opened for <*>"] * 6


def test_as_many_words_as_merge_above_stay_apart():
    matched = match(TemplateSet.learn(SESSIONS, merge_above=6), *SESSIONS)
    assert matched["template"].to_list() == SESSIONS


def test_short_leaves_are_never_merged_into_something_that_matches_all():
    short = [f"{name} left" for name in NAMES]
    assert match(TemplateSet.learn(short, merge_above=2), *short)["template"].to_list() == short


def test_words_merge_where_an_equal_leaf_has_a_wildcard():
    messages = ["logged in from lobby as guest", "logged in from 10.0.0.1 as guest"]
    assert set(match(TemplateSet.learn(messages[:1]), *messages[:1])["template"]) == {messages[0]}
    learned = TemplateSet.learn(leaves(pl.Series(messages)))
    unseen = "logged in from cellar as guest"
    assert set(match(learned, *messages, unseen)["template"]) == {"logged in from <*> as guest"}


def test_a_wildcard_fits_where_words_were_merged():
    assert match(TemplateSet.learn(SESSIONS, merge_above=5), "session opened for 7")["template"][0] == MERGED


@pytest.mark.parametrize(("names", "merged"), [(6, False), (7, True)])
def test_first_words_merge_only_where_three_times_as_many_alternate(names, merged):
    services = [f"{letter}d startup succeeded" for letter in "abcdefg"[:names]]
    found = match(TemplateSet.learn(services, merge_above=2), *services)["template"].to_list()
    assert found == (["<*> startup succeeded"] * names if merged else services)


@pytest.mark.parametrize("named", ["clock set by LOCAL(0), done", "clock set by <0, done"])
def test_a_named_value_joins_the_message_that_has_it_without_a_name(named):
    alone, bare = "clock set by LOCAL(<*>), done", "clock set by 10.0.0.1, done"
    learned = TemplateSet.learn(leaves(pl.Series([bare])))
    assert match(learned, named, bare)["template"].to_list() == ["clock set by <*>, done"] * 2
    both = TemplateSet.learn(leaves(pl.Series([named, bare])))
    assert match(both, named, bare)["template"].to_list() == ["clock set by <*>, done"] * 2
    assert match(TemplateSet(), "clock set by LOCAL(0), done")["template"][0] == alone


def test_an_unseen_leaf_takes_the_learned_pattern_that_it_fits():
    template_set = TemplateSet.learn(SESSIONS, merge_above=5)
    assert match(template_set, "session opened for zoe")["template"][0] == "session opened for <*>"


@pytest.mark.parametrize("message", ["session closed for zoe", "session opened for -", "session opened for"])
def test_an_unseen_leaf_that_fits_no_pattern_is_its_own_template(message):
    template_set = TemplateSet.learn(SESSIONS, merge_above=5)
    assert match(template_set, message)["template"][0] == leaf(message)


def test_ids_are_the_hash_of_the_text():
    matched = match(TemplateSet.learn(SESSIONS), "took 12 ms", SESSIONS[0])
    assert matched["template_id"].to_list() == [template_id(text) for text in matched["template"]]
    assert matched.schema == MATCH_SCHEMA


def test_parameter_chars_count_what_the_leaf_does_not_show():
    assert match(TemplateSet(), "took 1234 tries", "took long", "")["parameter_chars"].to_list() == [4, 0, 0]


def test_no_messages_give_no_rows():
    assert match(TemplateSet()).schema == MATCH_SCHEMA


def test_every_order_of_a_small_set_learns_the_same():
    small = ["a b c x", "a b c y", "a b c z", "a b d z"]
    digests = {TemplateSet.learn(order, merge_above=2).digest for order in permutations(small)}
    assert len(digests) == 1


WORDS = st.sampled_from(["up", "down", "left", "disk", "net", "<*>", "a", "b", "c", "="])
LEAVES = st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), max_size=25)


@settings(max_examples=100, deadline=None)
@given(LEAVES, st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_template_set_depends_on_the_set_of_leaves_alone(found, above, random):
    shuffled = [*found, *found[:5]]
    random.shuffle(shuffled)
    first, second = TemplateSet.learn(found, merge_above=above), TemplateSet.learn(shuffled, merge_above=above)
    assert first == second
    assert first.to_json() == second.to_json()
    assert TemplateSet.from_json(first.to_json()) == first


@settings(max_examples=100, deadline=None)
@given(LEAVES, st.lists(st.text(max_size=30), max_size=8), st.integers(1, 4))
def test_a_match_depends_neither_on_neighbours_nor_on_what_was_matched_before(found, messages, cached):
    template_set = TemplateSet.learn(found, merge_above=2)
    messages = [*found[:6], *messages]
    small = TemplateMatcher(template_set, cached_leaves=cached)
    whole = small.match(pl.Series(messages, dtype=pl.String))
    again = small.match(pl.Series(messages[::-1], dtype=pl.String))[::-1]
    alone = [match(template_set, message) for message in messages]
    assert whole.rows() == again.rows() == [frame.row(0) for frame in alone]


def test_a_learned_leaf_gets_the_template_that_it_would_get_unseen():
    found = [*SESSIONS, *(f"session opened for {name} now" for name in NAMES[:2])]
    template_set = TemplateSet.learn(found, merge_above=4)
    unseen = TemplateSet({}, template_set.patterns, merge_above=4)
    assert match(template_set, *found).rows() == match(unseen, *found).rows()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version":2}', "null", '{"version":2,"templates":3}'])
def test_what_is_no_template_set_is_refused(text):
    with pytest.raises(ValueError, match="template set"):
        TemplateSet.from_json(text)


@pytest.mark.parametrize("version", [1, 99])
def test_a_template_set_of_another_version_is_refused(version):
    with pytest.raises(ValueError, match=f"version {version}, .*make the bundle again with `longwatch train`"):
        TemplateSet.from_json(TemplateSet().to_json().replace('"version":2', f'"version":{version}'))


def test_learning_and_ids_are_the_same_in_a_process_with_another_hash_seed():
    script = (
        "import sys, polars as pl; from longwatch.pipeline.templates import *;"
        "s = TemplateSet.learn(sys.argv[1:]); m = TemplateMatcher(s).match(pl.Series(sys.argv[1:]));"
        "print(s.digest, m['template_id'].to_list())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script, *SESSIONS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert TemplateSet.learn(SESSIONS).digest in outputs.pop()


@pytest.mark.data
def test_hdfs_lines_are_grouped_as_their_true_templates():
    messages, truth = hdfs_messages(dataset("hdfs_raw"))
    template_set = TemplateSet.learn(leaves(messages).unique())
    accuracy = grouping_accuracy(TemplateMatcher(template_set).match(messages)["template_id"], truth)
    assert accuracy.lines >= 0.99


@pytest.mark.data
def test_public_samples_are_grouped_no_worse_than_recorded():
    scores = []
    for messages, truth in loghub_samples(dataset("loghub_2k")):
        template_set = TemplateSet.learn(leaves(messages).unique())
        scores.append(grouping_accuracy(TemplateMatcher(template_set).match(messages)["template_id"], truth))
    assert sum(score.lines for score in scores) / len(scores) >= 0.975
    assert sum(score.templates for score in scores) / len(scores) >= 0.94
