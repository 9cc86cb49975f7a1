"""OptionsFormSpawner with the methods that subclasses written for the `optionsspawner` package call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flatirons.hub import start
from flatirons.spawners.form.hooks import FormHooks
from optionsspawner.forms import FormField, OptionsForm

__all__ = ["OptionsFormSpawner"]

HOOKS = ("options_from_form", "apply_user_options")


class OptionsFormSpawner(start.OptionsFormSpawner):
    """A form on any spawner; an `options_form` or a hook that a site has written itself stays in use."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        hooks = FormHooks.of(self)
        section: Mapping[str, Any] = self.config.get("OptionsFormSpawner", {})
        if "options_form" in section:
            self.options_form = section["options_form"]
        for name in [each for each in HOOKS if each in vars(self) and self._is_of_the_site(each)]:
            delattr(self, name)
            if name == "options_from_form" and hooks:  # which JupyterHub would call for a link
                self.options_from_query = hooks.options_from_query

    @classmethod
    def _is_of_the_site(cls, name: str) -> bool:
        return str(getattr(cls, name).__module__) != __name__

    @property
    def options_form_builder(self) -> OptionsForm:
        """The fields as the package's own form."""
        fields = self.form_fields(self) if callable(self.form_fields) else self.form_fields
        return OptionsForm([field for field in fields if isinstance(field, FormField)])

    def options_from_form(self, form_data: Mapping[str, Any]) -> dict[str, Any]:
        """The posted values as lists, for a subclass that changes them; they are checked before the start."""
        return self.options_form_builder.get_options_from_form(form_data)

    def _apply_traits_from_fields(self, spawner_instance: Any = None) -> None:
        """Gives a spawner a trait for each field. This one has them already."""
        spawner = self if spawner_instance is None else spawner_instance
        fields = self.options_form_builder.fields
        missing = {field.trait_name: field.get_trait() for field in fields}
        spawner.add_traits(**{name: trait for name, trait in missing.items() if not spawner.has_trait(name)})

    def _set_trait_values_from_options(self, spawner_instance: Any = None) -> None:
        """Sets the traits of a spawner from `user_options`."""
        spawner = self if spawner_instance is None else spawner_instance
        values = self.options_form_builder.get_normalized_user_options(self.user_options)
        for name, value in values.items():
            setattr(spawner, name, value)
