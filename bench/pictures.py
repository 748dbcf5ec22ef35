"""Compares the input that `resnet` makes of 40 odd pictures with torchvision's on Pillow.

`python bench/pictures.py [--resnet target/release/resnet]`, with numpy, pillow, safetensors and torchvision.
Pictures are made here; the network is the identity, so that its answer is its input. Pillow's passes are done rows first,
as every release before 13 does, and turned as EXIF says, which `convert("RGB")` alone does not.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Shorter side or height and width, filter.
WAYS = [(64, "bilinear"), (67, "bicubic"), ((56, 72), "lanczos"), (57, "box"), (70, "nearest"), (80, "hamming")]
SIZE = 56


def noise(random, height, width, channels):
    """Smooth and rough parts side by side."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = 127 + 120 * np.sin(y[..., None] / 5 + np.arange(channels)) * np.cos(x[..., None] / 7)
    rough = random.integers(0, 256, (height, width, channels))
    return np.where(x[..., None] * 2 < width, smooth, rough).astype(np.uint8)


def pictures(folder):
    """Saves the pictures: a name, and what stands for `convert("RGB")` where Pillow's is another."""
    random = np.random.default_rng(0)
    rgb, rgba = noise(random, 97, 131, 3), noise(random, 61, 83, 4)
    grey, cmyk = noise(random, 75, 64, 1)[..., 0], noise(random, 66, 90, 4)
    colour = Image.fromarray(rgb)

    def save(name, picture, expected=None, **options):
        picture.save(folder / name, **options)
        return name, expected

    for quality in (30, 75, 95):
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            yield save(f"q{quality}-{sampling[2:].replace(':', '')}.jpg", colour, quality=quality, subsampling=sampling)
    yield save("progressive.jpg", colour, progressive=True)
    yield save("restart.jpg", colour, restart_marker_rows=1)
    yield save("optimised.jpg", colour, optimize=True)
    yield save("grey.jpg", Image.fromarray(grey))
    yield save("cmyk.jpg", Image.fromarray(cmyk, "CMYK"))
    for orientation in (2, 3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield save(f"turned{orientation}.jpg", colour, exif=exif)
    yield save("rgb.png", colour)
    yield save("rgba.png", Image.fromarray(rgba))
    yield save("grey.png", Image.fromarray(grey))
    yield save("grey-alpha.png", Image.fromarray(rgba[..., :2], "LA"))
    yield save("palette.png", colour.quantize(200))
    yield save("palette16.png", colour.quantize(13), bits=4)
    yield save("bits.png", Image.fromarray(grey).convert("1"))
    deep = random.integers(0, 65536, (60, 77)).astype(np.uint16)
    # Pillow clips 16 bits of grey at 255; the upper 8 are what it takes of colours.
    yield save("grey16.png", Image.fromarray(deep), Image.fromarray((deep >> 8).astype(np.uint8)))
    yield save("lossless.webp", colour, lossless=True)
    yield save("lossy.webp", colour, quality=80)
    yield save("rgba.webp", Image.fromarray(rgba), lossless=True, exact=True)
    yield save("palette.gif", colour.quantize(256))
    yield save("grey.gif", Image.fromarray(grey))
    yield save("frames.gif", colour.quantize(64), save_all=True, append_images=[colour.transpose(0).quantize(64)])
    yield save("rgb.bmp", colour)
    yield save("palette.bmp", colour.quantize(256))
    yield save("rgb.tiff", colour)
    yield save("lzw.tiff", colour, compression="tiff_lzw")
    yield save("deflate.tiff", colour, compression="tiff_adobe_deflate")
    yield save("grey.tiff", Image.fromarray(grey))
    yield save("rgb.ppm", colour)
    yield save("grey.pgm", Image.fromarray(grey))
    yield save("thread.png", Image.fromarray(noise(random, 1, 3000, 3)))
    yield save("pole.png", Image.fromarray(noise(random, 900, 1, 3)))
    yield save("pixel.png", Image.fromarray(noise(random, 1, 1, 3)))
    yield save("large.jpg", Image.fromarray(noise(random, 700, 901, 3)))


def expected(path, stands_for, resize, filter_):
    picture = (stands_for or ImageOps.exif_transpose(Image.open(path))).convert("RGB")
    mode = InterpolationMode(filter_)
    size = list(resize) if isinstance(resize, tuple) else resize
    height, width = size if isinstance(size, list) else transforms.functional._compute_resized_output_size(
        (picture.height, picture.width), [size]
    )
    filter_ = transforms.functional.pil_modes_mapping[mode]
    picture = picture.resize((width, picture.height), filter_).resize((width, height), filter_)
    steps = [transforms.CenterCrop(SIZE), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return transforms.Compose(steps)(picture).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resnet", default="target/release/resnet")
    resnet = pathlib.Path(parser.parse_args().resnet).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file({"conv1.weight": np.eye(3, dtype="f4").reshape(3, 3, 1, 1)}, folder / "identity.safetensors")
        (folder / "pictures").mkdir()
        made = list(pictures(folder / "pictures"))
        largest = {name: 0.0 for name, _ in made}
        for resize, filter_ in WAYS:
            size = f"{resize[0]}x{resize[1]}" if isinstance(resize, tuple) else resize
            (folder / "identity.yaml").write_text(
                f"name: identity\ninput: 3x{SIZE}x{SIZE}\ntable:\n"
                "  - {layer: conv1, op: conv, kernel: 1, channels: 3, norm: none, bias: false, activation: none}\n"
                f"preprocess: {{resize: {size}, filter: {filter_}, mean: {MEAN}, std: {STD}}}\n"
            )
            names = [f"pictures/{name}" for name, _ in made]
            command = [resnet, "run", "identity.yaml", "--weights", "identity.safetensors", "--output", "y.npy", *names]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.stderr:
                print(done.stderr)
            for (name, stands_for), found in zip(made, np.load(folder / "y.npy")):
                wanted = expected(folder / "pictures" / name, stands_for, resize, filter_)
                difference = float(np.abs(found - wanted).max())
                largest[name] = max(largest[name], difference) if difference == difference else difference
    print(f"{len(made)} pictures, {len(WAYS)} ways of resizing: largest difference of the input")
    for name, difference in largest.items():
        print(f"{name:20} {difference:.6f}" + ("" if difference == 0 else f"  {difference * min(STD) * 255:.1f} levels"))


if __name__ == "__main__":
    main()
