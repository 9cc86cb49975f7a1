"""Options forms, declared as fields and evaluated on the server. They know nothing of Slurm or JupyterHub.

A `Form` is a sequence of fields. A field's settings (choices, minimum, maximum, default, visible, required,
locked, help, nothing, if_none, gauges) are values or functions, sync or async. The parameters of a function
name what it looks at: other fields (it gets their typed values), `user` or `facts`::

    Select("qos", "QOS", choices=lambda partition, facts: facts.qos_of(partition))

So a circular dependency is found when the form is made. The same rules apply to options from every source:

`await form.parse(posted, context)`    what a page posted (lists of texts) -> typed options
`await form.check(options, context)`   a REST body, or stored options -> typed options: the last check
`await form.initial(options, context)` the options of an earlier start -> options to begin with; never raises
`await form.render(given, messages, context, notice=, linked=)` -> HTML for the inside of a <form>

For any input, `parse` and `check` return options or raise `errors.OptionsRefused(messages)`, with one
sentence for each option that is refused. Their result has every field; None stands for a field that was left
empty. What `parse` returns passes `check` unchanged. Inputs are named like their options; the message of the
input NAME has the id `error-NAME`, the input itself `option-NAME`.

`flatirons.spawners.form.hooks.FormHooks(form)` attaches a form to any spawner. Its methods are JupyterHub's
hooks:

`async options_form(spawner) -> str`
    as this request posted it, with messages; or as this request's link says, with a notice; or with the
    options of the spawner's last start; or with defaults.
`options_from_form(form_data, spawner=None) -> awaitable of a dict`
    typed options of a posted form. JupyterHub's own `Spawner.options_from_query` calls it without a spawner:
    then the data comes from a link, which never starts a server.
`options_from_query(query_data)`
    raises FilledIn at once, so that JupyterHub shows the form (HTTP 200) instead of starting a server.
`async apply_user_options(spawner, user_options)`
    the last check. `spawner.user_options` becomes the typed options. The spawner's traits named by
    `Field.trait` (or like the option) get the values too; None leaves a trait as it was configured.

Refusals are `RefusedOptions`, a SpawnException with HTTP 400 whose text is `NAME: sentence NAME: sentence`.
"""

from flatirons.errors import Refusal
from flatirons.forms.field import Field
from flatirons.forms.fields import (
    Checkbox,
    Duration,
    Hidden,
    Integer,
    Memory,
    Number,
    Radio,
    Select,
    Text,
)
from flatirons.forms.form import WHOLE_FORM, Form, Group
from flatirons.forms.values import Choice, Context, Gauge, Rules, Value

__all__ = [
    "WHOLE_FORM",
    "Checkbox",
    "Choice",
    "Context",
    "Duration",
    "Field",
    "Form",
    "Gauge",
    "Group",
    "Hidden",
    "Integer",
    "Memory",
    "Number",
    "Radio",
    "Refusal",
    "Rules",
    "Select",
    "Text",
    "Value",
]
