"""Fields as the `optionsspawner` package named them: `TextInputField("req_account", label="Account")`.

The first argument is the trait that gets the value. `attr_NAME` are attributes of the HTML element. Those
that restrict the value (required, value, pattern, maxlength, min, max, step, checked, readonly) are also
checked on the server, for links and the REST API too. Any other keyword is a setting of
`flatirons.forms.Field`.

The fields are classes. A subclass may replace `normalize_user_option` (a ValueError's text stands beside the
field), `get_trait` (the type of a trait that the child doesn't have) and `render` (the HTML on the page).
"""

from optionsspawner.forms.base import FormField, OptionsForm
from optionsspawner.forms.characterfield import NumericalInputField, TextInputField
from optionsspawner.forms.checkboxfield import CheckboxInputField
from optionsspawner.forms.selectfield import SelectField

__all__ = [
    "CheckboxInputField",
    "FormField",
    "NumericalInputField",
    "OptionsForm",
    "SelectField",
    "TextInputField",
]
