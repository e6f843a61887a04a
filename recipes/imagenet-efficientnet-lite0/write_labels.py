"""Write `labels.txt`: ImageNet's 1000 classes, by the first name that WordNet has for each, as timm carries them.

.venv/frameworks/bin/python recipes/imagenet-efficientnet-lite0/write_labels.py
"""

from pathlib import Path

from builder.frameworks import adaptations

adaptations.apply()

from timm.data import ImageNetInfo

TWINS = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}
"""Classes whose first name another class has too."""


def main() -> None:
    info = ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(number).partition(",")[0].strip() for number in range(info.num_classes())]
    labels = [TWINS.get(number, name) for number, name in enumerate(names)]
    Path(__file__).with_name("labels.txt").write_text("\n".join(labels) + "\n")


if __name__ == "__main__":
    main()
