"""The simulated user of the smoke test sends a form as a browser would."""

from cluster.demo.visitor import _Fields


def fields(page: str) -> dict[str, str]:
    parser = _Fields()
    parser.feed(page)
    return parser.values


def test_the_selected_option_is_sent_and_else_the_first() -> None:
    page = """<select name=a><option value=1><option value=2 selected><option value=3></select>
              <select name=b><option value=4><option value=5></select>"""
    assert fields(page) == {"a": "2", "b": "4"}


def test_only_what_is_checked_is_sent() -> None:
    page = """<input type=radio name=a value=1><input type=radio name=a value=2 checked>
              <input type=checkbox name=b>"""
    assert fields(page) == {"a": "2"}


def test_an_empty_text_field_is_sent() -> None:
    assert fields("<input name=a><input name=b value='x &amp; y'>") == {"a": "", "b": "x & y"}
