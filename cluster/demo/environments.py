"""The environments that a demo offers besides `python` when it is asked to, each with its image."""

import argparse
from collections.abc import Iterable

# Image -> title and description, as people see them in the form.
OFFERED = {
    "r": ("R", "R with the tidyverse, data.table and R Markdown, in JupyterLab; Python beside it."),
    "pyspark": ("PySpark", "Spark from Python, on one node or on many; pandas, PyArrow, Matplotlib."),
    "scientific": (
        "Scientific Python",
        "All of Python's, and scikit-learn, statsmodels, Numba, SymPy, LaTeX.",
    ),
}


def place(image: str) -> str:
    """Where the nodes see an image's file."""
    return f"/srv/images/{image}.sif"


def names(text: str) -> tuple[str, ...]:
    """The images of a list with commas, for argparse, which says what is wrong with it."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in found if name not in OFFERED]:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(OFFERED)}")
    return found


def site_text(images: Iterable[str]) -> str:
    """Sections for the site file."""
    return "".join(
        f'\n[environments.{image}]\ntitle = "{OFFERED[image][0]}"\n'
        f'description = "{OFFERED[image][1]}"\nimage = "{place(image)}"\n'
        for image in images
    )
