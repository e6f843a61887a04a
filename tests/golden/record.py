# torch and OpenMMLab live in an environment of their own, unseen by mypy
# mypy: disable-error-code="import-not-found, import-untyped"
"""Records what the training libraries make of seeded photos, for the tests to compare with.

Run where the libraries named are installed, from the repository's root; without names it is all of them:

    python -m tests.golden.record mmcv mmdet mmpretrain torchvision ultralytics yolox

writes `<library>.npz` beside this file: one array a case and photo size, under the key `case/HEIGHTxWIDTH`.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.vision.encoded import noise

Photo = NDArray[np.uint8]
Cases = dict[str, Callable[[Photo], NDArray[Any]]]

FOLDER = Path(__file__).parent
SIZES = ((61, 83), (83, 61), (20, 31))
"""Height and width: wide, tall, and smaller than what it is resized to."""
MEAN_BGR, STD_BGR = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]


def mmcv_cases() -> Cases:
    """Each function of mmcv that a step reproduces, alone."""
    import mmcv

    def imresize(backend: str, name: str) -> Callable[[Photo], NDArray[Any]]:
        return lambda photo: mmcv.imresize(photo, (19, 15), interpolation=name, backend=backend)

    both = ("nearest", "bilinear", "bicubic", "lanczos")
    return {
        **{f"imresize cv2 {name}": imresize("cv2", name) for name in (*both, "area")},
        **{f"imresize pillow {name}": imresize("pillow", name) for name in both},
        "imrescale": lambda photo: mmcv.imrescale(photo, (28, 20)),
        "impad": lambda photo: mmcv.impad(mmcv.imrescale(photo, (24, 16)), shape=(18, 26), pad_val=(114, 7, 255)),
        "impad_to_multiple": lambda photo: mmcv.impad_to_multiple(
            mmcv.imrescale(photo, (20, 14)), 16, pad_val=(9, 9, 9)
        ),
        "imnormalize": lambda photo: mmcv.imnormalize(
            mmcv.imrescale(photo, (14, 10)), np.array(MEAN_BGR[::-1]), np.array(STD_BGR[::-1]), to_rgb=True
        ),
    }


def mmdet_cases() -> Cases:
    """RTMDet's test pipeline, with the data preprocessor that training and evaluation use."""
    import mmdet.datasets.transforms
    import torch
    from mmcv.transforms import Compose
    from mmdet.models.data_preprocessors import DetDataPreprocessor

    steps = Compose(
        [
            {"type": "mmdet.Resize", "scale": (24, 24), "keep_ratio": True},
            {"type": "mmdet.Pad", "size": (24, 24), "pad_val": {"img": (114, 114, 114)}},
        ]
    )
    preprocessor = DetDataPreprocessor(mean=MEAN_BGR, std=STD_BGR, bgr_to_rgb=False, pad_size_divisor=1)

    def rtmdet(photo: Photo) -> NDArray[Any]:
        image = steps({"img": photo, "img_shape": photo.shape[:2], "ori_shape": photo.shape[:2]})["img"]
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        sample = mmdet.structures.DetDataSample(metainfo={"img_shape": image.shape[:2]})
        inputs: NDArray[Any] = preprocessor({"inputs": [tensor], "data_samples": [sample]})["inputs"][0].numpy()
        return inputs

    return {"rtmdet": rtmdet}


def mmpretrain_cases() -> Cases:
    """The usual ImageNet test pipelines, up to the crop, and one with the data preprocessor."""
    import mmpretrain.datasets.transforms  # noqa: F401  # registers ResizeEdge
    import torch
    from mmcv.transforms import Compose
    from mmpretrain.models.utils.data_preprocessor import ClsDataPreprocessor

    def pipeline(**resize: Any) -> Callable[[Photo], NDArray[Any]]:
        steps = Compose(
            [
                {"type": "mmpretrain.ResizeEdge", "scale": 19, "edge": "short", **resize},
                {"type": "mmpretrain.CenterCrop", "crop_size": 16},
            ]
        )
        return lambda photo: np.asarray(steps({"img": photo, "img_shape": photo.shape[:2]})["img"])

    crop = pipeline()
    preprocessor = ClsDataPreprocessor(mean=MEAN_BGR[::-1], std=STD_BGR[::-1], to_rgb=True)

    def resnet(photo: Photo) -> NDArray[Any]:
        tensor = torch.from_numpy(np.ascontiguousarray(crop(photo).transpose(2, 0, 1)))
        inputs: NDArray[Any] = preprocessor({"inputs": [tensor]})["inputs"][0].numpy()
        return inputs

    def efficientnet(crop: int, padding: int) -> Callable[[Photo], NDArray[Any]]:
        steps = Compose(
            [
                {
                    "type": "mmpretrain.EfficientNetCenterCrop",
                    "crop_size": crop,
                    "crop_padding": padding,
                    "backend": "pillow",
                }
            ]
        )
        return lambda photo: np.asarray(steps({"img": photo, "img_shape": photo.shape[:2]})["img"])

    return {
        "efficientnet crop": efficientnet(24, 3),
        "efficientnet crop, wide margin": efficientnet(16, 32),
        "edge and crop": crop,
        "edge and crop, pillow bicubic": pipeline(backend="pillow", interpolation="bicubic"),
        "resnet": resnet,
    }


def torchvision_cases() -> Cases:
    """torchvision's own ImageNet presets, in small: antialiased Pillow resize, centre crop, RGB, 0 to 1, normalised."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    def preset(mode: InterpolationMode, *, to_tensor: bool) -> Callable[[Photo], NDArray[Any]]:
        steps = [transforms.Resize(19, interpolation=mode), transforms.CenterCrop(16)]
        normalise = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
        run = transforms.Compose([*steps, *(normalise if to_tensor else [])])
        return lambda photo: np.asarray(run(Image.fromarray(photo[..., ::-1])))

    return {
        "bilinear": preset(InterpolationMode.BILINEAR, to_tensor=True),
        "bicubic": preset(InterpolationMode.BICUBIC, to_tensor=False),
    }


def ultralytics_cases() -> Cases:
    """The letterbox that Ultralytics predicts with behind an ONNX, alone and up to the tensor."""
    from ultralytics.data.augment import LetterBox

    def letterbox(height: int, width: int) -> Callable[[Photo], NDArray[Any]]:
        step = LetterBox((height, width), auto=False)
        return lambda photo: np.asarray(step(image=photo))

    def tensor(photo: Photo) -> NDArray[Any]:
        planes = np.ascontiguousarray(letterbox(32, 32)(photo)[..., ::-1].transpose(2, 0, 1))
        return planes.astype(np.float32) / np.float32(255)

    return {
        "letterbox": letterbox(32, 32),
        "letterbox, oblong": letterbox(24, 41),
        "tensor": tensor,
    }


def yolox_cases() -> Cases:
    """YOLOX's own preprocessing (0.2 and later)."""
    from yolox.data.data_augment import preproc

    return {
        "preproc": lambda photo: preproc(photo, (32, 32))[0],
        "preproc, oblong": lambda photo: preproc(photo, (24, 41))[0],
    }


def recorded(cases: Cases) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, run in cases.items():
        for height, width in SIZES:
            yield f"{name}/{height}x{width}", run(noise(height, width))


LIBRARIES: dict[str, Callable[[], Cases]] = {
    "mmcv": mmcv_cases,
    "mmdet": mmdet_cases,
    "mmpretrain": mmpretrain_cases,
    "torchvision": torchvision_cases,
    "ultralytics": ultralytics_cases,
    "yolox": yolox_cases,
}


def main() -> None:
    from builder.frameworks import adaptations

    adaptations.apply()
    for library in sys.argv[1:] or LIBRARIES:
        arrays: dict[str, Any] = dict(recorded(LIBRARIES[library]()))
        np.savez_compressed(FOLDER / f"{library}.npz", **arrays)
        print(library, (FOLDER / f"{library}.npz").stat().st_size)


if __name__ == "__main__":
    main()
