"""The reference of SlurmSpawner agrees with its traits."""

from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.reference import reference
from flatirons.spawners.slurm import SlurmSpawner
from tests.repository import REPO


def test_the_reference_is_not_stale():
    page = (REPO / "docs" / "reference" / "spawner.md").read_text(encoding="utf-8")
    assert page == reference(), (
        "run: PYTHONPATH=src python -m flatirons.spawners.reference docs/reference/spawner.md"
    )


def test_every_trait_is_described():
    for name, trait in SlurmSpawner.class_own_traits(config=True).items():
        assert trait.help, name
        assert f"- **`{name}`**" in reference()


def test_every_option_of_the_standard_form_is_a_trait():
    for field in slurm_form({}, {}, {}).fields.values():
        assert SlurmSpawner.class_traits(config=True)[field.trait or field.name]
