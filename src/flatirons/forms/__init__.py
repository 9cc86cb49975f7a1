"""Options forms, declared as fields and evaluated on the server; they know nothing of Slurm or JupyterHub.

A `Form` is a sequence of fields. The same rules serve every way in:

`await form.parse(posted, context)`    what a page posted (lists of texts) -> typed options
`await form.check(options, context)`   what a REST body or the database holds -> typed options: the gate
`await form.initial(options, context)` what an earlier start used -> options to begin with; never refuses
`await form.render(given, messages, context, notice=, linked=)` -> HTML for the inside of a <form>

`parse` and `check` raise `errors.OptionsRefused(messages)`, one sentence for each option that can't be
taken, and nothing else for any input. Their result holds every field; None is a field that was left empty.
What `parse` gives passes `check` unchanged. Options are named like their inputs, the message beside input
NAME is the element with id `error-NAME`, the input's own id is `option-NAME`.

Attached to a spawner, any spawner, by `flatirons.spawners.options.FormHooks`.
"""

from flatirons.forms.fields import (
    Checkbox,
    Duration,
    Field,
    Hidden,
    Integer,
    Memory,
    Number,
    Radio,
    Select,
    Text,
)
from flatirons.forms.form import WHOLE_FORM, Form, Group
from flatirons.forms.values import Choice, Context, Refusal, Rules, Value

__all__ = [
    "WHOLE_FORM",
    "Checkbox",
    "Choice",
    "Context",
    "Duration",
    "Field",
    "Form",
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
