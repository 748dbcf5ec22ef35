"""Makes the golden pictures of `runtime/tests/pictures.rs` with Pillow and torchvision.

Run in this folder: `python make_pictures.py`. Made with Pillow 13.0.0 and torchvision 0.29.2.
"""

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms

BILINEAR = Image.Resampling.BILINEAR
random = np.random.default_rng(0)


def noise(height, width, channels):
    """Smooth and rough parts side by side, so that every kind of tap matters."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = 127 + 120 * np.sin(y[..., None] / 5 + np.arange(channels)) * np.cos(x[..., None] / 7)
    rough = random.integers(0, 256, (height, width, channels))
    return np.where(x[..., None] * 2 < width, smooth, rough).astype(np.uint8)


# Input pictures: RGB with a transparent side, tall and grey, turned by EXIF.
Image.fromarray(noise(37, 45, 4), "RGBA").save("wide.png")
Image.fromarray(noise(64, 19, 1)[..., 0], "L").save("tall.png")
y, x = np.mgrid[0:24, 0:40]
ramp = np.stack([y * 8 + x, 255 - x * 5, 60 + y * 3], axis=-1).astype(np.uint8)
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(ramp, "RGB").save("turned.jpg", quality=95, subsampling=0, exif=exif)
ImageOps.exif_transpose(Image.open("turned.jpg")).save("turned.expected.png")

# Name of the input, mode, shorter side, crop height and width.
CASES = [
    ("wide", "RGB", 20, 20, 20),
    ("wide", "RGB", 21, 16, 19),
    ("wide", "RGB", 53, 53, 60),
    ("wide", "RGB", 37, 37, 45),
    ("wide", "RGB", 7, 12, 11),
    ("wide", "L", 20, 18, 21),
    ("tall", "RGB", 16, 24, 16),
    ("tall", "L", 30, 29, 27),
]


def resize(picture, shorter):
    """`transforms.Resize`, rows first as every Pillow before 13 does it.

    Pillow 13 starts with the columns of some pictures, which can move a pixel by one level.
    """
    width, height = transforms.Resize(shorter)(picture).size
    return picture.resize((width, picture.height), BILINEAR).resize((width, height), BILINEAR)


for name, mode, shorter, height, width in CASES:
    picture = resize(Image.open(f"{name}.png").convert(mode), shorter)
    transforms.CenterCrop((height, width))(picture).save(f"{name}-{mode}-{shorter}-{height}x{width}.png")

# The whole way to numbers, as little-endian f32.
steps = transforms.Compose([
    transforms.Lambda(lambda picture: resize(picture, 8)),
    transforms.CenterCrop((6, 5)),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
steps(Image.open("wide.png").convert("RGB")).numpy().astype("<f4").tofile("wide.normalised.f32")

# Every filter, to fewer pixels and to more.
for filter in Image.Resampling:
    picture = Image.open("wide.png").convert("RGB")
    for width, height in [(19, 16), (53, 41)]:
        rows = picture.resize((width, picture.height), filter)
        rows.resize((width, height), filter).save(f"resized/{filter.name.lower()}-{width}x{height}.png")

# JPEG files of every kind, and what Pillow decodes them to.
KINDS = {
    "420": dict(quality=85, subsampling="4:2:0"),
    "422": dict(quality=85, subsampling="4:2:2"),
    "444": dict(quality=97, subsampling="4:4:4"),
    "restart": dict(quality=60, subsampling="4:2:0", restart_marker_blocks=2),
    "progressive": dict(quality=70, subsampling="4:2:0", progressive=True, restart_marker_rows=1),
    "grey": dict(quality=75),
    "grey-progressive": dict(quality=75, progressive=True),
    "cmyk": dict(quality=75),
}
for name, options in KINDS.items():
    channels, mode = {"g": (1, "L"), "c": (4, "CMYK")}.get(name[0], (3, "RGB"))
    pixels = noise(21, 35, channels)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    picture.save(f"jpeg/{name}.jpg", **options)
    Image.open(f"jpeg/{name}.jpg").convert("RGB").save(f"jpeg/{name}.png")


def sampled(name, base, factors, width, height):
    """`base` with other sampling factors and another size, so that its blocks make as many units."""
    bytes_ = bytearray(open(f"jpeg/{base}.jpg", "rb").read())
    frame = bytes_.index(b"\xff\xc0")
    bytes_[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    bytes_[frame + 11] = factors
    open(f"jpeg/{name}.jpg", "wb").write(bytes_)
    Image.open(f"jpeg/{name}.jpg").convert("RGB").save(f"jpeg/{name}.png")


sampled("440", "422", 0x12, 21, 45)
sampled("411", "420", 0x41, 70, 15)
Image.new("RGB", (6, 5), (255, 0, 0)).save("jpeg/red.jpg")
