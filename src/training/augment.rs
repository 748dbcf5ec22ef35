//! Images as an epoch sees them: cut out, mirrored, mixed, by chance that depends on the seed, the epoch and the
//! image's number alone, not on the threads.

use std::borrow::Cow;
use std::str::FromStr;

use resnet_runtime::picture::{Filter, Image};

/// How an image becomes one of the network's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crop {
    /// As it is for inference.
    None,
    /// Surrounded by so many black pixels on each side, then cut out anywhere: torchvision's `RandomCrop`, of images that have
    /// the network's size; others are errors.
    Padded(usize),
    /// The same, surrounded by its own mirror image: `RandomCrop` with `padding_mode="reflect"`.
    Reflected(usize),
    /// A part of 8 to 100 % of the image whose sides have a ratio of 3:4 to 4:3, resized: torchvision's
    /// `RandomResizedCrop`.
    Resized,
}

impl Crop {
    /// What is usual for images like one of `image` by `size`, that of the network, both height and width: padded by an eighth if they are the
    /// same, else resized parts.
    pub fn usual(image: (usize, usize), size: (usize, usize)) -> Self {
        if image == size { Self::Padded(size.0.min(size.1) / 8) } else { Self::Resized }
    }
}

/// A way to cut images that there is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{0}` is no way to cut images; there are: none, pad=N, reflect=N, resized")]
pub struct UnknownCrop(String);

impl FromStr for Crop {
    type Err = UnknownCrop;

    fn from_str(text: &str) -> Result<Self, UnknownCrop> {
        let pixels = |pixels: &str| pixels.parse::<u16>().ok().map(usize::from);
        let crop = match text.split_once('=') {
            None if text == "none" => Some(Self::None),
            None if text == "resized" => Some(Self::Resized),
            Some(("pad", n)) => pixels(n).map(Self::Padded),
            Some(("reflect", n)) => pixels(n).map(Self::Reflected),
            _ => None,
        };
        crop.ok_or_else(|| UnknownCrop(text.to_owned()))
    }
}

/// What is done to images before the network sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// What is cut out.
    pub crop: Crop,
    /// Whether every second image is mirrored.
    pub flip: bool,
    /// The side of a square that is blanked after normalising ("Improved Regularization of Convolutional Neural
    /// Networks with Cutout", DeVries and Taylor, 2017); 0: none.
    pub cutout: usize,
    /// The parameter of the Beta distribution by which pairs of images are mixed ("mixup: Beyond Empirical Risk
    /// Minimization", Zhang et al., 2018); 0: none are.
    pub mixup: f32,
}

impl Default for Augment {
    /// Mirrored, and nothing else.
    fn default() -> Self {
        Self { crop: Crop::None, flip: true, cutout: 0, mixup: 0.0 }
    }
}

/// Random numbers: SplitMix64 ("Fast Splittable Pseudorandom Number Generators", Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Numbers that depend on a few others.
    pub(super) fn of(numbers: &[u64]) -> Self {
        let mut random = Self(0);
        for number in numbers {
            random.0 ^= number.wrapping_add(random.next());
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to `n`, without `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Normally distributed around 0, with a deviation of 1: Box and Muller's method.
    pub(super) fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), self.unit());
        radius * (std::f64::consts::TAU * angle).cos()
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// Beta-distributed, both parameters the same: Jöhnk's method.
    pub(super) fn beta(&mut self, alpha: f64) -> f64 {
        loop {
            let [x, y] = [(); 2].map(|()| self.unit().powf(1.0 / alpha));
            if x + y <= 1.0 && x + y > 0.0 {
                return x / (x + y);
            }
        }
    }
}

impl Augment {
    /// The part of an image that the network of a size sees; the image itself where it is taken as for inference.
    pub(super) fn cut<'a>(
        &self,
        image: Cow<'a, Image>,
        (height, width): (usize, usize),
        random: &mut Random,
    ) -> Cow<'a, Image> {
        let image = match self.crop {
            Crop::None => image,
            Crop::Padded(padding) => {
                Cow::Owned(padded(&image, padding, (height, width), random, inside))
            }
            Crop::Reflected(padding) => {
                let reflected = |at, size| Some(reflected(at, size));
                Cow::Owned(padded(&image, padding, (height, width), random, reflected))
            }
            Crop::Resized => {
                let part = part(&image, random);
                Cow::Owned(window(&image, part).resize(width, height, Filter::Bilinear))
            }
        };
        match self.flip && random.below(2) == 1 {
            true => Cow::Owned(mirrored(&image)),
            false => image,
        }
    }

    /// Blanks a square of a planar input, whose middle may be anywhere.
    pub(super) fn blank(&self, input: &mut [f32], shape: [usize; 3], random: &mut Random) {
        let [_, height, width] = shape;
        if self.cutout == 0 {
            return;
        }
        let (row, column) = (random.below(height), random.below(width));
        let range = |middle: usize, size: usize| {
            let start = middle.saturating_sub(self.cutout / 2);
            start..(middle + self.cutout - self.cutout / 2).min(size)
        };
        for plane in input.chunks_mut(height * width) {
            for row in range(row, height) {
                plane[row * width..][range(column, width)].fill(0.0);
            }
        }
    }
}

/// A part of an image: the first row and column, height and width.
type Part = (usize, usize, usize, usize);

/// A row or column outside of an image, if it is the image's.
fn inside(at: isize, size: usize) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < size)
}

/// A row or column of an image that is mirrored at its first and last one, which are not repeated.
fn reflected(at: isize, size: usize) -> usize {
    let last = size - 1;
    let at = at.unsigned_abs() % (2 * last).max(1);
    at.min(2 * last - at)
}

/// A part of an image with `padding` rows and columns on each side, black where `source` says that a row or column is no one of
/// the image's.
fn padded(
    image: &Image,
    padding: usize,
    (height, width): (usize, usize),
    random: &mut Random,
    source: impl Fn(isize, usize) -> Option<usize>,
) -> Image {
    let channels = image.channels();
    let spare = |size: usize, crop: usize| (size + 2 * padding + 1).saturating_sub(crop).max(1);
    let top = random.below(spare(image.height(), height)) as isize - padding as isize;
    let left = random.below(spare(image.width(), width)) as isize - padding as isize;
    let mut pixels = vec![0; height * width * channels];
    for (row, line) in (top..).zip(pixels.chunks_mut(width * channels)) {
        let Some(row) = source(row, image.height()) else {
            continue;
        };
        for (column, pixel) in (left..).zip(line.chunks_mut(channels)) {
            if let Some(column) = source(column, image.width()) {
                let at = (row * image.width() + column) * channels;
                pixel.copy_from_slice(&image.pixels()[at..at + channels]);
            }
        }
    }
    Image::new(width, height, channels, pixels).expect("as many pixels as it is large")
}

/// What `RandomResizedCrop` cuts out.
fn part(image: &Image, random: &mut Random) -> Part {
    const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
    let (height, width) = (image.height(), image.width());
    let area = (height * width) as f64;
    for _ in 0..10 {
        let target = area * random.between(0.08, 1.0);
        let ratio = random.between(RATIO.0.ln(), RATIO.1.ln()).exp();
        let w = (target * ratio).sqrt().round_ties_even() as usize;
        let h = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return (random.below(height - h + 1), random.below(width - w + 1), h, w);
        }
    }
    let ratio = width as f64 / height as f64;
    let (h, w) = if ratio < RATIO.0 {
        ((width as f64 / RATIO.0).round_ties_even() as usize, width)
    } else if ratio > RATIO.1 {
        (height, (height as f64 * RATIO.1).round_ties_even() as usize)
    } else {
        (height, width)
    };
    let (h, w) = (h.clamp(1, height), w.clamp(1, width));
    ((height - h) / 2, (width - w) / 2, h, w)
}

fn window(image: &Image, (top, left, height, width): Part) -> Image {
    let channels = image.channels();
    let line = |row: usize| {
        let at = ((top + row) * image.width() + left) * channels;
        &image.pixels()[at..at + width * channels]
    };
    let pixels = (0..height).flat_map(|row| line(row).iter().copied()).collect();
    Image::new(width, height, channels, pixels).expect("as many pixels as it is large")
}

fn mirrored(image: &Image) -> Image {
    let channels = image.channels();
    let mut pixels = image.pixels().to_vec();
    for line in pixels.chunks_mut(image.width() * channels) {
        line.reverse();
        line.chunks_mut(channels).for_each(<[u8]>::reverse);
    }
    Image::new(image.width(), image.height(), channels, pixels).expect("as many pixels as before")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(width: usize, height: usize) -> Image {
        let pixels = (0..width * height * 3).map(|at| (at % 251) as u8 + 1).collect();
        Image::new(width, height, 3, pixels).unwrap()
    }

    #[test]
    fn mirrored_twice_is_as_before() {
        let image = counting(5, 4);
        let once = mirrored(&image);
        assert_eq!(once.pixels()[..3], image.pixels()[12..15]);
        assert_eq!(mirrored(&once), image);
    }

    #[test]
    fn padded_crops_are_the_image_and_black() {
        let image = counting(6, 6);
        let mut black = false;
        for seed in 0..50 {
            let crop = padded(&image, 2, (6, 6), &mut Random::of(&[seed]), inside);
            assert_eq!((crop.width(), crop.height()), (6, 6));
            // Whatever is not black is a pixel of the image.
            for pixel in crop.pixels().chunks(3) {
                black |= pixel == [0; 3];
                assert!(pixel == [0; 3] || image.pixels().chunks(3).any(|own| own == pixel));
            }
            // The middle is always there.
            assert!(
                crop.pixels()
                    .chunks(3)
                    .any(|pixel| pixel == &image.pixels()[(2 * 6 + 2) * 3..][..3])
            );
        }
        assert!(black);
    }

    /// `numpy.pad(range(4), 5, mode="reflect")`
    #[test]
    fn reflections_do_not_repeat_the_border() {
        let row: Vec<usize> = (-5..9).map(|at| reflected(at, 4)).collect();
        assert_eq!(row, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(reflected(-3, 1), 0);
        assert_eq!("reflect=4".parse(), Ok(Crop::Reflected(4)));
        assert!("reflect=-1".parse::<Crop>().is_err() && "pad".parse::<Crop>().is_err());
    }

    #[test]
    fn reflected_crops_have_no_black() {
        let image = counting(6, 6);
        for seed in 0..20 {
            let source = |at, size| Some(reflected(at, size));
            let crop = padded(&image, 4, (6, 6), &mut Random::of(&[seed]), source);
            assert!(crop.pixels().iter().all(|&value| value != 0));
        }
    }

    #[test]
    fn parts_have_the_size_and_the_ratio_that_torchvision_says() {
        let image = counting(60, 40);
        let mut random = Random::of(&[3]);
        for _ in 0..500 {
            let (top, left, h, w) = part(&image, &mut random);
            assert!(top + h <= 40 && left + w <= 60);
            let (area, ratio) = ((h * w) as f64 / 2400.0, w as f64 / h as f64);
            assert!((0.06..=1.0).contains(&area), "{area}");
            assert!((0.65..=1.5).contains(&ratio), "{ratio}");
        }
        let (_, _, h, w) = part(&counting(400, 3), &mut random);
        assert_eq!((h, w), (3, 4), "too wide for any: the middle");
    }

    #[test]
    fn squares_are_blanked_up_to_the_edges() {
        let augment = Augment { cutout: 4, ..Augment::default() };
        for seed in 0..30 {
            let mut input = vec![1.0; 2 * 8 * 8];
            augment.blank(&mut input, [2, 8, 8], &mut Random::of(&[seed]));
            let blank = |plane: &[f32]| plane.iter().filter(|v| **v == 0.0).count();
            let [a, b] = [blank(&input[..64]), blank(&input[64..])];
            assert!(a == b && (4..=16).contains(&a), "{a}");
        }
    }

    #[test]
    fn chance_is_fair_and_the_same_for_a_seed() {
        let mut random = Random::of(&[1, 2]);
        let mean = (0..10_000).map(|_| random.unit()).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02);
        let beta = (0..10_000).map(|_| random.beta(0.2)).sum::<f64>() / 1e4;
        assert!((beta - 0.5).abs() < 0.02);
        assert_eq!(Random::of(&[1, 2]).next(), Random::of(&[1, 2]).next());
        assert_ne!(Random::of(&[1, 2]).next(), Random::of(&[2, 1]).next());
    }
}
