"""Which folders of a model repository hold models: all but hidden ones and those that file systems make."""

OF_FILE_SYSTEMS = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir"})
"""At the root of ext4; of NTFS and exFAT, twice; and in each folder of some network disks."""


def holds_model(name: str) -> bool:
    """Whether a folder of that name is meant to be a model, with whatever in it; Triton lists every folder there is."""
    return not name.startswith(".") and name not in OF_FILE_SYSTEMS
