"""The environments that a demo can offer besides `python`, each with its image."""

import argparse
from collections.abc import Iterable

# Image -> title and description in the form.
OFFERED = {
    "r": ("R", "R with the tidyverse, data.table and R Markdown, in JupyterLab, and Python."),
    "pyspark": ("PySpark", "Spark from Python, on one node or on many; pandas, PyArrow, Matplotlib."),
    "scientific": (
        "Scientific Python",
        "As Python, with scikit-learn, statsmodels, Numba, SymPy, LaTeX.",
    ),
}


def place(image: str) -> str:
    """Where the nodes see an image's file."""
    return f"/srv/images/{image}.sif"


def names(text: str) -> tuple[str, ...]:
    """The images in a list with commas. For argparse: raises ArgumentTypeError for an unknown one."""
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
