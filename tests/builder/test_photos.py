from pathlib import Path

from builder.recipes.photos import photos_from_patterns
from tests.builder.recipes import write_photos


def test_a_folder_whose_name_is_a_pattern(tmp_path: Path) -> None:
    """Only what the recipe says is a pattern; where it lies is a path, whatever its name."""
    root = tmp_path / "q[1]*"
    write_photos(root / "photos", 2)
    names = [path.name for path in photos_from_patterns(["photos/*"], root, "parity")]
    assert names == ["photo-0.png", "photo-1.png"]
    (root / "photos" / "photo-1.png").rename(root / "photos" / "a[1].png")
    assert photos_from_patterns(["photos/a[1].png"], root, "parity") == (root / "photos" / "a[1].png",)
    assert len(photos_from_patterns([f"{tmp_path}/q*/photos/*"], Path.cwd(), "parity")) == 2
