//! Chroma at the picture's size, and RGB of it, with libjpeg's arithmetic.

use std::borrow::Cow;

use super::header::{Colours, Component, Frame};

/// The picture's RGB pixels.
pub(super) fn to_rgb(frame: &Frame, colours: Colours) -> Vec<u8> {
    let mut pixels = vec![0; frame.width * frame.height * 3];
    let convert = Convert::new();
    for (row, out) in pixels.chunks_exact_mut(3 * frame.width).enumerate() {
        let rows: Vec<Cow<'_, [u8]>> =
            frame.components.iter().map(|component| upsampled(frame, component, row)).collect();
        let out = out.as_chunks_mut::<3>().0;
        match (colours, &rows[..]) {
            (Colours::Grey, [y]) => {
                out.iter_mut().zip(&y[..]).for_each(|(rgb, &y)| *rgb = [y; 3]);
            }
            (colours, [a, b, c]) => {
                let inputs = a.iter().zip(&b[..]).zip(&c[..]);
                for (rgb, ((&a, &b), &c)) in out.iter_mut().zip(inputs) {
                    *rgb = if colours == Colours::Rgb { [a, b, c] } else { convert.rgb(a, b, c) };
                }
            }
            (colours, [a, b, c, black]) => {
                let inputs = a.iter().zip(&b[..]).zip(&c[..]).zip(&black[..]);
                for (rgb, (((&a, &b), &c), &black)) in out.iter_mut().zip(inputs) {
                    let inks = match colours {
                        Colours::Ycck => convert.rgb(a, b, c).map(|light| 255 - light),
                        _ => [a, b, c],
                    };
                    *rgb = without_black(inks, black);
                }
            }
            // `Colours::of` counted the components.
            _ => {}
        }
    }
    pixels
}

/// Inks whose bytes say how much light they leave, as in every inverted CMYK file, and black that
/// way too; rounded as Pillow's `convert("RGB")`.
fn without_black(inks: [u8; 3], black: u8) -> [u8; 3] {
    inks.map(|ink| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        let taken = ((product >> 8) + product) >> 8;
        (u32::from(black).saturating_sub(taken)) as u8
    })
}

/// Tables of the conversion of JFIF from YCbCr, with 16 bits after the point.
struct Convert {
    red: [i32; 256],
    blue: [i32; 256],
    green_by_cb: [i32; 256],
    green_by_cr: [i32; 256],
}

impl Convert {
    fn new() -> Self {
        const HALF: i32 = 1 << 15;
        let table = |factor: f64, add: i32, shift: u32| {
            let fixed = (factor.abs() * 65536.0 + 0.5) as i32 * factor.signum() as i32;
            std::array::from_fn(|chroma| (fixed * (chroma as i32 - 128) + add) >> shift)
        };
        Self {
            red: table(1.402, HALF, 16),
            blue: table(1.772, HALF, 16),
            green_by_cb: table(-0.34414, HALF, 0),
            green_by_cr: table(-0.71414, 0, 0),
        }
    }

    #[inline]
    fn rgb(&self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let (y, cb, cr) = (i32::from(y), usize::from(cb), usize::from(cr));
        let green = (self.green_by_cb[cb] + self.green_by_cr[cr]) >> 16;
        [y + self.red[cr], y + green, y + self.blue[cb]].map(|value| value.clamp(0, 255) as u8)
    }
}

/// A row of the picture's pixels of a component.
///
/// Halved chroma is interpolated, 3 parts of the nearer pixel and 1 of the farther, with the
/// roundings of libjpeg's `fancy upsampling`; other ratios, and pictures of a pixel or two, repeat
/// pixels.
fn upsampled<'a>(frame: &Frame, component: &'a Component, row: usize) -> Cow<'a, [u8]> {
    let (width, height) = component.size;
    let across = frame.sampling.0 / component.sampling.0;
    let down = frame.sampling.1 / component.sampling.1;
    let line = |row: usize| &component.plane[row * component.stride()..][..width];
    let near = row / down;
    // The row on the other side of this one; at an edge the last row itself.
    let far = || match row % 2 {
        0 => near.saturating_sub(1),
        _ => (near + 1).min(height - 1),
    };
    match (across, down) {
        (1, 1) => Cow::Borrowed(line(row)),
        (2, 1) if width > 2 => Cow::Owned(doubled(line(near))),
        (2, 2) if width > 2 => {
            let sums = line(near).iter().zip(line(far()));
            let sums: Vec<u16> =
                sums.map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)).collect();
            Cow::Owned(doubled_sums(&sums))
        }
        (1, 2) => {
            let half = 1 + (row % 2) as u16;
            let mixed = line(near).iter().zip(line(far()));
            let mixed = mixed
                .map(|(&near, &far)| ((3 * u16::from(near) + u16::from(far) + half) >> 2) as u8);
            Cow::Owned(mixed.collect())
        }
        (1, _) => Cow::Borrowed(line(near)),
        _ => {
            let repeat = |&pixel: &u8| std::iter::repeat_n(pixel, across);
            Cow::Owned(line(near).iter().flat_map(repeat).collect())
        }
    }
}

/// A row at twice its width: each pixel gives two, of which each leans to its own side.
fn doubled(row: &[u8]) -> Vec<u8> {
    let between = |pixel: u8, side: u8, half| (3 * u16::from(pixel) + u16::from(side) + half) >> 2;
    pairs(row, |left, pixel, right| [between(pixel, left, 1) as u8, between(pixel, right, 2) as u8])
}

/// The same of sums in which a row's pixels have the weight 4.
fn doubled_sums(sums: &[u16]) -> Vec<u8> {
    pairs(sums, |left, sum, right| {
        [((3 * sum + left + 8) >> 4) as u8, ((3 * sum + right + 7) >> 4) as u8]
    })
}

/// Two pixels for each, from it and its neighbours; at an end it is its own neighbour.
fn pairs<T: Copy>(row: &[T], pair: impl Fn(T, T, T) -> [u8; 2]) -> Vec<u8> {
    let mut out = vec![0; 2 * row.len()];
    let (pairs, last) = (out.as_chunks_mut::<2>().0, row.len() - 1);
    for (pair_of, three) in pairs[1..].iter_mut().zip(row.array_windows()) {
        let [left, pixel, right] = *three;
        *pair_of = pair(left, pixel, right);
    }
    pairs[0] = pair(row[0], row[0], row[1.min(last)]);
    pairs[last] = pair(row[last.saturating_sub(1)], row[last], row[last]);
    out
}
