"""The environments that a demo can offer besides `python`, each with its image."""

import argparse
from collections.abc import Collection

# Image -> title and description in the form.
OFFERED = {
    "r": ("R", "R with the tidyverse, data.table and R Markdown, in JupyterLab, and Python."),
    "pyspark": ("PySpark", "Spark from Python, on one node or on many; pandas, PyArrow, Matplotlib."),
    "scientific": (
        "Scientific Python",
        "As Python, with scikit-learn, statsmodels, Numba, SymPy, LaTeX.",
    ),
}


ON_NODES = "/opt/jupyter"
"""Where nodes without Apptainer have the packages of the image `base`."""


def place(image: str) -> str:
    """Where the nodes see an image's file."""
    return f"/srv/images/{image}.sif"


def names(text: str) -> tuple[str, ...]:
    """The images in a list with commas. For argparse: raises ArgumentTypeError for an unknown one."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in found if name not in OFFERED]:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(OFFERED)}")
    return found


def site_text(images: Collection[str]) -> str:
    """Sections for the site file; without images, the one that takes the image from its `python`."""
    if not images:
        return f'[environments.python]\nimage = ""\ncmd = ["{ON_NODES}/bin/jupyterhub-singleuser"]\n'
    return "".join(
        f'\n[environments.{image}]\ntitle = "{OFFERED[image][0]}"\n'
        f'description = "{OFFERED[image][1]}"\nimage = "{place(image)}"\n'
        for image in images
        if image in OFFERED
    )
