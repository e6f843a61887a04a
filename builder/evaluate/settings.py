"""`evaluation:` of a recipe: which photos, and where their answers stand.

    evaluation: {kind: coco, images: balloon/images, annotations: balloon/val_coco.json}
    evaluation: {kind: voc, images: carplates/images, annotations: carplates/annotations, only: held-out.txt}
    evaluation: {kind: ccpd, images: ccpd, label: plate}
    evaluation: {kind: folders, images: trashnet, split: trashnet/test-files.csv}
    evaluation: {kind: prefix, images: fruits/test, ignore: [mixed]}
    evaluation: {kind: csv, images: v831/test, table: test.csv}

`images`, `annotations` and `split` lie beneath the data's root ($JETSERVE_DATA), `only` and `table` beside the recipe.
"""

from typing import Annotated, Literal

from pydantic import Field

from builder.recipes.parts import Part, RecipePath


class _Data(Part):
    images: str
    """Folder of the photos, beneath the data's root."""
    split: str | None = None
    """Text file beneath the data's root with the file names to take, one a line; what follows a comma is not read."""
    only: RecipePath | None = None
    """The same, beside the recipe."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Names in the data, and what the model calls them; names that are not here are the same on both sides."""
    ignore: tuple[str, ...] = ()
    """Names in the data that the model does not know: their boxes are left out, and photos of such a class as well."""


class CocoData(_Data):
    """Boxes in COCO's JSON."""

    kind: Literal["coco"]
    annotations: str


class VocData(_Data):
    """Boxes in Pascal VOC's XML, one file a photo; sizes come from the photo, since some tools write 0."""

    kind: Literal["voc"]
    annotations: str


class CcpdData(_Data):
    """One number plate a photo, its box in the file name as CCPD writes it (third field, `x1&y1_x2&y2`)."""

    kind: Literal["ccpd"]
    label: str = "plate"


class FolderData(_Data):
    """A photo's class is the folder that it lies in."""

    kind: Literal["folders"]


class PrefixData(_Data):
    """A photo's class is its file name up to the last underscore."""

    kind: Literal["prefix"]


class CsvData(_Data):
    """A photo's class stands in a table of `file name,class`, beside the recipe."""

    kind: Literal["csv"]
    table: RecipePath


Evaluation = Annotated[
    CocoData | VocData | CcpdData | FolderData | PrefixData | CsvData,
    Field(discriminator="kind"),
]
