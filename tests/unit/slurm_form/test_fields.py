"""The declaration of the standard fields: form, job, site's keys and trait come from one entry."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from flatirons.errors import OptionsRefused, SiteError
from flatirons.forms import Context, Form
from flatirons.notebook.arguments import add_arguments
from flatirons.notebook.arguments import options as typed_by_user
from flatirons.site.load import options_form, parse
from flatirons.slurm import argv
from flatirons.slurm_form.fields import FIELDS, SlurmField
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.job import request
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes import summit

ALICE = Context(user="alice")
MINE = summit.context("alice")
SITE = """
[hub]
address = "http://hub:8081"
[clusters.summit]
[environments.python]
"""
SHOWN = "[form.constraint]\nvisible = true\n[form.mem_per_cpu]\nvisible = true\n"
EXAMPLES = {"partition": "shas", "account": "general", "qos": "normal", "reservation": "workshop"}
ON_COMMAND_LINE = [each for each in FIELDS if each.reserved]


def site_form(extra: str = SHOWN) -> Form:
    return options_form(parse(SITE + extra))


def words(options: dict[str, Any]) -> list[str]:
    return argv.sbatch(request(options))


def example(each: SlurmField) -> Any:
    return each.field.read((*each.examples, EXAMPLES.get(each.name, "2"))[0])


@pytest.mark.parametrize("each", ON_COMMAND_LINE, ids=lambda each: each.name)
def test_the_option_shown_with_a_field_is_the_option_that_sbatch_gets(each: SlurmField) -> None:
    added = set(words({each.name: example(each)})) - set(words({}))
    assert [word for word in added if word.startswith(each.field.flag)], added
    assert len(added) == 1


@pytest.mark.parametrize("each", FIELDS, ids=lambda each: each.name)
def test_every_field_is_a_trait_a_table_of_the_site_and_an_option_of_the_command(each: SlurmField) -> None:
    assert each.trait in SlurmSpawner.class_traits(config=True)
    assert parse(f'{SITE}[form.{each.name}]\nlabel = "Hers"\n').form.settings()[each.name] == {
        "label": "Hers"
    }
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    for flag in each.flags:
        assert typed_by_user(parser.parse_args([flag, "x"])) == {each.name: "x"}


# -- node features and memory for each core, two entries of the declaration


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("constraint", "haswell&ib", "--constraint=haswell&ib"),
        ("mem_per_cpu", "1.5G", "--mem-per-cpu=1536M"),
    ],
)
async def test_a_field_that_the_site_shows_reaches_sbatch_from_every_source(
    name: str, value: str, word: str
) -> None:
    form = site_form()
    assert f'name="{name}"' in await form.render({}, {}, ALICE)
    posted = await form.parse({name: [value]}, ALICE)
    linked = await form.parse({name: [value]}, ALICE, from_page=False)
    by_rest = await form.check({name: value}, ALICE)
    assert posted == linked == by_rest
    assert word in words(by_rest)


@pytest.mark.parametrize("name", ["constraint", "mem_per_cpu"])
async def test_a_field_that_is_hidden_by_default_is_not_on_the_page_and_is_refused(name: str) -> None:
    form = site_form("")
    assert f'name="{name}"' not in await form.render({}, {}, ALICE)
    assert (await form.check({}, ALICE))[name] is None
    with pytest.raises(OptionsRefused, match=f"{name}: This can't be chosen here"):
        await form.check({name: "2"}, ALICE)


async def test_a_site_may_fix_what_is_hidden_by_default() -> None:
    form = site_form('[form.constraint]\ndefault = "haswell"\n')
    assert (await form.check({}, ALICE))["constraint"] == "haswell"
    with pytest.raises(OptionsRefused, match="constraint"):
        await form.check({"constraint": "knl"}, ALICE)


@pytest.mark.parametrize(
    "features",
    [
        *(
            "haswell",
            "haswell&ib",
            "rack1|rack2",
            "(knl&ib)|haswell",
            "[rack1|rack2]",
            "gpu*2&ib*1",
            "a.b-c_d",
        ),
        "[(rack1&ib)*2|rack2]",
    ],
)
async def test_features_are_combined_as_slurm_combines_them(features: str) -> None:
    assert words(await site_form().check({"constraint": features}, ALICE))[-1] == f"--constraint={features}"


@pytest.mark.parametrize(
    "evil",
    [
        *(
            "a b",
            "a;b",
            "$(x)",
            "a\n--uid=0",
            "a'b",
            "<b>",
            "--uid=0",
            "-x",
            "`id`",
            "a&&b",
            "a&",
            "|a",
            "(a",
        ),
        *("[a", "a]b", "a=b", "a,b", "ä", "()", "a*", "x" * 300, "((((((a"),
    ],
)
async def test_a_hostile_text_is_no_feature(evil: str) -> None:
    with pytest.raises(OptionsRefused) as refused:
        await site_form().check({"constraint": evil}, ALICE)
    assert set(refused.value.messages) == {"constraint"}


def test_a_hostile_text_is_checked_at_once() -> None:
    """The pattern must not backtrack through a long text."""
    for evil in ("a|" * 127, "(" * 250, "[(a&b)|" * 36, "a-" * 120 + ";"):
        with pytest.raises(ValueError, match="features"):
            FIELDS[[each.name for each in FIELDS].index("constraint")].field.read(evil)


async def test_a_site_may_name_the_features_to_choose_from() -> None:
    form = site_form('[form.constraint]\nvisible = true\nchoices = { haswell = "Haswell", knl = "KNL" }\n')
    assert "<select" in (await form.render({}, {}, ALICE)).partition('name="constraint"')[0][-300:]
    assert (await form.check({"constraint": "knl"}, ALICE))["constraint"] == "knl"
    with pytest.raises(OptionsRefused, match="isn't offered here"):
        await form.check({"constraint": "skylake"}, ALICE)


def test_a_site_can_not_name_what_is_no_feature() -> None:
    with pytest.raises(SiteError, match=r"form\.constraint\.choices"):
        parse(SITE + '[form.constraint]\nvisible = true\nchoices = ["a b"]\n')


def test_visible_and_hidden_are_one_setting() -> None:
    with pytest.raises(SiteError, match="give only visible"):
        parse(SITE + "[form.qos]\nvisible = true\nhidden = true\n")
    assert parse(SITE + "[form.qos]\nhidden = true\n").form.settings()["qos"] == {"visible": False}


@pytest.mark.parametrize("line", ["visible = false", "hidden = true"])
async def test_a_sites_own_field_is_hidden_by_the_same_setting_as_a_standard_field(line: str) -> None:
    own = '[form.own.licence]\ndefault = "matlab"\nsbatch = "--licenses"\n'
    form = site_form(f"{own}{line}\n")
    assert 'name="licence"' in await site_form(own).render({}, {}, ALICE)
    assert 'name="licence"' not in await form.render({}, {}, ALICE)
    assert (await form.check({}, ALICE))["licence"] == "matlab"
    with pytest.raises(SiteError, match="give only visible"):
        parse(f"{SITE}{own}visible = true\nhidden = false\n")


# -- memory on each node or for each core


async def test_memory_on_each_node_and_for_each_core_together_are_refused_with_a_sentence() -> None:
    with pytest.raises(OptionsRefused) as refused:
        await site_form().check({"memory": "4G", "mem_per_cpu": "2G"}, ALICE)
    assert refused.value.messages == {"memory": "Give the memory on each node or for each core, not both."}
    page = await site_form().render({"memory": "4G", "mem_per_cpu": "2G"}, {}, ALICE, live=True)
    assert "Give the memory on each node or for each core, not both." in page


async def test_memory_for_each_core_takes_the_place_of_the_sites_default_on_each_node() -> None:
    form = site_form(SHOWN + '[form.memory]\ndefault = "4G"\nrequired = true\n')
    options = await form.check({"mem_per_cpu": "2G"}, ALICE)
    assert (options["memory"], options["mem_per_cpu"]) == (None, 2048)
    assert [word for word in words(options) if word.startswith("--mem")] == ["--mem-per-cpu=2048M"]


async def test_whoever_gives_only_the_memory_on_each_node_gets_no_default_for_each_core() -> None:
    form = site_form('[form.mem_per_cpu]\nvisible = true\ndefault = "2G"\n')
    for options in (
        await form.check({"memory": "8G"}, ALICE),
        await form.parse({"memory": ["8G"], "mem_per_cpu": [""]}, ALICE),
    ):
        assert (options["memory"], options["mem_per_cpu"]) == (8192, None)
    for options in (await form.check({}, ALICE), await form.check({"memory": None}, ALICE)):
        assert (options["memory"], options["mem_per_cpu"]) == (None, 2048)


@pytest.mark.parametrize("way", ["locked", "hidden"])
async def test_where_the_memory_on_each_node_is_fixed_there_is_none_for_each_core(way: str) -> None:
    form = site_form(f'{SHOWN}[form.memory]\ndefault = "4G"\n{way} = true\n')
    assert (await form.check({}, ALICE))["memory"] == 4096
    with pytest.raises(OptionsRefused, match="not both"):
        await form.check({"mem_per_cpu": "2G"}, ALICE)


@pytest.mark.parametrize(("cpus", "most"), [("1", 16000), ("4", 4000)])
async def test_the_cores_of_a_job_share_the_memory_of_a_node(cpus: str, most: int) -> None:
    form = slurm_form({"mem_per_cpu": {"visible": True}}, {"summit": {}}, {"python": {}})
    assert (await form.check({"cpus": cpus, "mem_per_cpu": f"{most}M"}, MINE))["mem_per_cpu"] == most
    with pytest.raises(OptionsRefused, match="mem_per_cpu: Must be between 1M and"):
        await form.check({"cpus": cpus, "mem_per_cpu": f"{most + 1}M"}, MINE)


# -- earlier site files


async def test_a_sites_own_field_with_that_name_stays_unchanged() -> None:
    own = '[form.own.constraint]\ntype = "select"\nchoices = ["haswell", "knl"]\nsbatch = "--constraint"\n'
    site = parse(SITE + own)
    options = await options_form(site).check({"constraint": "knl"}, ALICE)
    line = argv.sbatch(request(options, site.form.site_fields()))
    assert [word for word in line if word.startswith("--constraint")] == ["--constraint=knl"]


async def test_a_sites_own_field_of_that_name_is_no_alternative_to_the_memory() -> None:
    own = '[form.own.mem_per_cpu]\ntype = "checkbox"\nenv = "PER_CPU"\n'
    form = site_form(own)
    posted = {"memory": ["4G"], "mem_per_cpu": ["on"]}
    assert (await form.parse(posted, ALICE))["memory"] == 4096
    assert (await form.parse({"memory": ["4G"]}, ALICE))["memory"] == 4096


def test_a_sites_own_field_cant_set_what_a_shown_standard_field_sets() -> None:
    own = '[form.own.kind]\nsbatch = "--constraint"\n'
    assert parse(SITE + own)
    with pytest.raises(SiteError, match=r"form\.own\.kind\.sbatch"):
        parse(SITE + SHOWN + own)
    with pytest.raises(SiteError, match=r"form\.own\.constraint"):
        parse(SITE + SHOWN + "[form.own.constraint]\n")
